#include "kernels_impl.h"

namespace videosoft {

template void pool_relu<float>(const Pooling&, const Scaling<float>&, const float*, float*, void*);
template void differentiate_relu<float>(
    const Pooling&, const Scaling<float>&, const float*, const float*, float*, void*
);

} // namespace videosoft
