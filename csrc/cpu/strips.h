// Rows of windows taken together, so that the row of cells between two of them is exponentiated once: windows of 3 rows
// with stride 2.

#pragma once

#include "../geometry.h"
#include "axis.h"
#include "row_kernels.h"

#include <cstdint>

namespace videosoft {

class Strips {
 public:
  // Whether windows of 3 with stride 2 lie along a dimension, the middle cells of which all exist.
  static bool suit(const Geometry& geometry, int dim) {
    const int64_t last_middle = (geometry.output[dim] - 1) * 2 - geometry.padding[dim] + 1;
    return geometry.kernel[dim] == 3 && geometry.stride[dim] == 2 && last_middle < geometry.input[dim];
  }

  Strips(int64_t rows, int64_t rows_per_strip) : rows_(rows), rows_per_strip_(rows_per_strip) {
  }

  // The last strips have two rows or one.
  int64_t count() const {
    const int64_t rest = rows_ % rows_per_strip_;
    return rows_ / rows_per_strip_ + rest / 2 + rest % 2;
  }

  Range get_rows(int64_t strip) const {
    const int64_t first = strip * rows_per_strip_;
    if (first + rows_per_strip_ <= rows_) {
      return {first, first + rows_per_strip_};
    }
    const int64_t rest = rows_ % rows_per_strip_;
    const int64_t whole = rows_ - rest;
    return first == whole && rest >= 2 ? Range{whole, whole + 2} : Range{rows_ - 1, rows_};
  }

 private:
  int64_t rows_;
  int64_t rows_per_strip_;
};

} // namespace videosoft
