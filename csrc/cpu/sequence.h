// 0, 1, ..., n - 1 as template arguments: the indices of shuffles. std::integer_sequence would do, were it not that
// vectors.h, compiled for several instruction sets, keeps away from the standard library.

#pragma once

#include <cstdint>

namespace videosoft {

template <int... I>
struct Sequence {};

template <int64_t kCount, int... I>
struct CountToImpl : CountToImpl<kCount - 1, static_cast<int>(kCount - 1), I...> {};
template <int... I>
struct CountToImpl<0, I...> {
  using Type = Sequence<I...>;
};

template <int64_t kCount>
using CountTo = typename CountToImpl<kCount>::Type;

} // namespace videosoft
