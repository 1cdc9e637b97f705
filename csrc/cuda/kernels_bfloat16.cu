#include "kernels_impl.h"

namespace videosoft {

template void pool<BFloat16>(const Pooling&, const BFloat16*, BFloat16*, void*);
template void differentiate<BFloat16>(const Pooling&, const BFloat16*, const BFloat16*, BFloat16*, void*);

} // namespace videosoft
