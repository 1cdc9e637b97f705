#include "kernels_impl.h"

namespace videosoft {

template void pool_relu<double>(const Pooling&, const Scaling<double>&, const double*, double*, void*);
template void differentiate_relu<double>(
    const Pooling&, const Scaling<double>&, const double*, const double*, double*, void*
);

} // namespace videosoft
