#include "kernels/lambda_returns/lambda_returns.h"

#include "kernels/core/gpu_row_tiles.h"

namespace dr {
namespace DR_BACKEND {
namespace {

struct Returns {
  RowsOf<const float> reward, discount, value;
  const float* bootstrap;
  int64_t steps;
  float lambda;
  RowsOf<float> returns;

  DR_DEVICE void operator()(const RowWalk& walk, RowTile* tiles) const {
    RowTile &rewards = tiles[0], &discounts = tiles[1], &values = tiles[2];  // returns take the place of rewards
    const int64_t b = walk.first + (lane_index() < walk.rows ? lane_index() : 0);
    const float rest = 1.f - lambda;
    float mix = bootstrap[b];
    for (int64_t t = (steps - 1) / kGroup * kGroup; t >= 0; t -= kGroup) {
      const int count = steps - t < kGroup ? int(steps - t) : kGroup;
      rewards.load(reward.data, b * reward.stride, walk.rows, t, count);
      discounts.load(discount.data, b * discount.stride, walk.rows, t, count);
      values.load(value.data, b * value.stride, walk.rows, t, count);
      group_sync();  // the tiles are there
      for (int k = count - 1; k >= 0; k--) {
        rewards[k] = fma(discounts[k], mix, rewards[k]);
        mix = fma(lambda, rewards[k], rest * values[k]);
      }
      group_sync();  // so are the returns
      rewards.store(returns.data, b * returns.stride, walk.rows, t, count);
      group_sync();  // all have read them
    }
  }
};

// Gradients; null data: not wanted. Tiles of values and returns, and of what becomes of them, lie one step later.
struct Gradients {
  RowsOf<const float> discount, value, returns, dreturns;
  const float* bootstrap;
  int64_t steps;
  float lambda;
  RowsOf<float> dreward, ddiscount, dvalue;
  float* dbootstrap;

  DR_DEVICE void operator()(const RowWalk& walk, RowTile* tiles) const {
    RowTile &discounts = tiles[0], &values = tiles[1], &next = tiles[2], &g = tiles[3];
    const bool whole = lane_index() < walk.rows;
    const int64_t b = walk.first + (whole ? lane_index() : 0);
    const float rest = 1.f - lambda, last = bootstrap[b];
    float a = 0;
    for (int64_t t = 0; t < steps; t += kGroup) {
      const int count = steps - t < kGroup ? int(steps - t) : kGroup;
      const int later = steps - t - 1 < kGroup ? int(steps - t - 1) : kGroup;  // of them in the same row
      discounts.load(discount.data, b * discount.stride, walk.rows, t, count);
      values.load(value.data, b * value.stride, walk.rows, t + 1, later);
      next.load(returns.data, b * returns.stride, walk.rows, t + 1, later);
      g.load(dreturns.data, b * dreturns.stride, walk.rows, t, count);
      group_sync();  // the tiles are there
      for (int k = 0; k < count; k++) {
        if (t + k > 0) g[k] = fma(lambda, a, g[k]);
        const float mix = k < later ? fma(lambda, next[k], rest * values[k]) : last;
        a = g[k] * discounts[k];
        discounts[k] = g[k] * mix;
        values[k] = rest * a;
      }
      group_sync();  // so are the gradients
      if (dreward.data) g.store(dreward.data, b * dreward.stride, walk.rows, t, count);
      if (ddiscount.data) discounts.store(ddiscount.data, b * ddiscount.stride, walk.rows, t, count);
      if (dvalue.data) values.store(dvalue.data, b * dvalue.stride, walk.rows, t + 1, later);
      group_sync();  // all have read them
    }
    if (dvalue.data && whole) dvalue.row(b)[0] = 0;
    if (dbootstrap && whole) dbootstrap[b] = a;
  }
};

RowsOf<float> optional_rows(const View& v) { return v ? rows_of<float>(v) : RowsOf<float>{}; }

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void LambdaReturns::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  for_row_walks<3>(
      ctx, in.reward.size(0),
      Returns{rows_of<const float>(in.reward), rows_of<const float>(in.discount), rows_of<const float>(in.value),
              in.bootstrap.as<float>(), in.reward.size(1), lambda, rows_of<float>(out.returns)});
}

template <>
void LambdaReturns::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy,
                                       const Grad& grad) const {
  for_row_walks<4>(
      ctx, in.reward.size(0),
      Gradients{rows_of<const float>(in.discount), rows_of<const float>(in.value), rows_of<const float>(saved.returns),
                rows_of<const float>(dy.returns), in.bootstrap.as<float>(), in.reward.size(1), lambda,
                optional_rows(grad.reward), optional_rows(grad.discount), optional_rows(grad.value),
                grad.bootstrap ? grad.bootstrap.as<float>() : nullptr});
}

}  // namespace dr
