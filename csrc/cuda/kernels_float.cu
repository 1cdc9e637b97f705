#include "kernels_impl.h"

namespace videosoft {

template void pool<float>(const Pooling&, const float*, float*, void*);
template void differentiate<float>(const Pooling&, const float*, const float*, float*, void*);

} // namespace videosoft
