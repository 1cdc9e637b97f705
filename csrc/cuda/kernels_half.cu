#include "kernels_impl.h"

namespace videosoft {

template void pool<Half>(const Pooling&, const Half*, Half*, void*);
template void differentiate<Half>(const Pooling&, const Half*, const Half*, Half*, void*);

} // namespace videosoft
