#include "kernels_impl.h"

namespace videosoft {

template void pool_relu<Half>(const Pooling&, const Scaling<float>&, const Half*, Half*, void*);
template void differentiate_relu<Half>(const Pooling&, const Scaling<float>&, const Half*, const Half*, Half*, void*);

} // namespace videosoft
