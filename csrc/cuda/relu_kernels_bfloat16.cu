#include "kernels_impl.h"

namespace videosoft {

template void pool_relu<BFloat16>(const Pooling&, const Scaling<float>&, const BFloat16*, BFloat16*, void*);
template void differentiate_relu<BFloat16>(
    const Pooling&, const Scaling<float>&, const BFloat16*, const BFloat16*, BFloat16*, void*
);

} // namespace videosoft
