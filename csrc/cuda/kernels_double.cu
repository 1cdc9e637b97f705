#include "kernels_impl.h"

namespace videosoft {

template void pool<double>(const Pooling&, const double*, double*, void*);
template void differentiate<double>(const Pooling&, const double*, const double*, double*, void*);

} // namespace videosoft
