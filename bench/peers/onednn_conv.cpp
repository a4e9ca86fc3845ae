// oneDNN's 2-D convolution as a peer, fp32. A request:
//
//   conv n= h= w= c= o= kh= kw= [sh= sw= top= left= bottom= right= dh= dw= groups= bias=0|1]
//        pass=fwd|bwd layout=any|nhwc|best
//
// layout any: every tensor in the format that oneDNN likes best for it (reorders of activations, weights and gradients
// are not counted); nhwc: activations channels last, weights as it likes; best (the default): the faster of the two.
// bwd is one call of backward by data and one of backward by weights (with the bias). dh, dw: 1 is no dilation.

#include <omp.h>

#include <dnnl.hpp>

#include "bench/peers/peer.h"

namespace {

using namespace dnnl;
using Md = memory::desc;
using Tag = memory::format_tag;
constexpr auto f32 = memory::data_type::f32;

struct Conv {
  int64_t n, h, w, c, o, kh, kw, sh, sw, top, left, bottom, right, dh, dw, groups;
  bool bias, backward;

  static Conv parse(const peer::Request& r) {
    auto get = [&](const char* name, int64_t otherwise) { return r.integer(name, otherwise); };
    std::string pass = r.text("pass", "fwd");
    if (pass != "fwd" && pass != "bwd") throw std::runtime_error("conv: pass is '" + pass + "', accepted are fwd, bwd");
    return {get("n", -1),    get("h", -1),      get("w", -1),     get("c", -1), get("o", -1), get("kh", -1),
            get("kw", -1),   get("sh", 1),      get("sw", 1),     get("top", 0), get("left", 0), get("bottom", 0),
            get("right", 0), get("dh", 1),      get("dw", 1),     get("groups", 1), get("bias", 1) != 0, pass == "bwd"};
  }
  int64_t oh() const { return (h + top + bottom - (kh - 1) * dh - 1) / sh + 1; }
  int64_t ow() const { return (w + left + right - (kw - 1) * dw - 1) / sw + 1; }
  int64_t inner() const { return c / groups; }
  double x_floats() const { return double(n * h * w * c); }
  double y_floats() const { return double(n * oh() * ow() * o); }
  double w_floats() const { return double(o * kh * kw * inner()); }
  double flops() const { return (backward ? 4 : 2) * y_floats() * double(kh * kw * inner()); }
  double bytes() const {
    return 4 * (backward ? 2 * (x_floats() + w_floats()) + y_floats() : x_floats() + y_floats() + w_floats());
  }
};

engine& cpu() {
  static engine e(engine::kind::cpu, 0);
  return e;
}
stream& queue() {
  static stream s(cpu());
  return s;
}

// A tensor in plain memory, in the order in which dnnl names its axes: n c h w, or [g] o i h w.
struct Plain {
  std::vector<float> data;
  Md md;
  Plain(const memory::dims& dims, Tag tag, uint64_t seed) : md(dims, f32, tag) {
    data.resize(md.get_size() / 4);
    const float* normals = peer::inputs().floats(1 << 22);
    for (size_t i = 0; i < data.size(); i++) data[i] = seed ? normals[(i + seed) % (1 << 22)] : 0;
  }
  memory in(const Md& wanted) {  // a copy in the format of a primitive
    memory from(md, cpu(), data.data()), to(wanted, cpu());
    reorder(from, to).execute(queue(), from, to);
    queue().wait();
    return to;
  }
  void out_of(memory from) {
    memory to(md, cpu(), data.data());
    reorder(from, to).execute(queue(), from, to);
    queue().wait();
  }
};

// A few elements against sums in double: a peer that computes something else is no peer. Any order of summation stays
// within (terms + 2) u sum |terms|.
struct Sum {
  double value = 0, magnitude = 0;
  int64_t terms = 0;
  void add(double a, double b) { value += a * b, magnitude += std::abs(a * b), terms++; }
  void check(float got, const char* what) const {
    if (!(std::abs(got - value) <= double(terms + 2) * 0x1p-24 * magnitude))
      throw std::runtime_error(std::string("conv: wrong ") + what);
  }
};

void check(const Conv& s, const Plain& x, const Plain& w, const Plain& b, const Plain& y, const Plain& dx,
           const Plain& dw) {
  const int64_t O = s.o / s.groups, I = s.inner();
  auto px = [&](const Plain& t, int64_t n, int64_t h, int64_t q, int64_t c, int64_t H, int64_t W, int64_t C) {
    return h < 0 || h >= H || q < 0 || q >= W ? 0.0 : double(t.data[size_t(((n * H + h) * W + q) * C + c)]);
  };
  auto weight = [&](int64_t o, int64_t kh, int64_t kw, int64_t i) {  // ohwi
    return double(w.data[size_t(((o * s.kh + kh) * s.kw + kw) * I + i)]);
  };
  for (int64_t t = 0; t < 32; t++) {
    const int64_t n = t % s.n, o = t * 104729 % s.o, c = t * 7919 % s.c;
    Sum sum;
    if (!s.backward) {
      const int64_t oh = t * 31 % s.oh(), ow = t * 17 % s.ow();
      if (s.bias) sum.add(b.data[size_t(o)], 1);
      for (int64_t kh = 0; kh < s.kh; kh++)
        for (int64_t kw = 0; kw < s.kw; kw++)
          for (int64_t i = 0; i < I; i++)
            sum.add(px(x, n, oh * s.sh - s.top + kh * s.dh, ow * s.sw - s.left + kw * s.dw, o / O * I + i, s.h, s.w,
                       s.c),
                    weight(o, kh, kw, i));
      sum.check(y.data[size_t(((n * s.oh() + oh) * s.ow() + ow) * s.o + o)], "result");
      continue;
    }
    const int64_t h = t * 31 % s.h, q = t * 17 % s.w;
    for (int64_t kh = 0; kh < s.kh; kh++)
      for (int64_t kw = 0; kw < s.kw; kw++) {
        const int64_t down = h + s.top - kh * s.dh, across = q + s.left - kw * s.dw;
        if (down % s.sh || across % s.sw) continue;
        for (int64_t j = c / I * O; j < (c / I + 1) * O; j++)
          sum.add(px(y, n, down / s.sh, across / s.sw, j, s.oh(), s.ow(), s.o), weight(j, kh, kw, c % I));
      }
    sum.check(dx.data[size_t(((n * s.h + h) * s.w + q) * s.c + c)], "dx");
    if (t >= 4) continue;  // a sum over all positions
    Sum dweight;
    const int64_t kh = t % s.kh, kw = t * 2 % s.kw, i = c % I;
    for (int64_t m = 0; m < s.n; m++)
      for (int64_t oh = 0; oh < s.oh(); oh++)
        for (int64_t ow = 0; ow < s.ow(); ow++)
          dweight.add(px(x, m, oh * s.sh - s.top + kh * s.dh, ow * s.sw - s.left + kw * s.dw, o / O * I + i, s.h, s.w,
                         s.c),
                      px(y, m, oh, ow, o, s.oh(), s.ow(), s.o));
    dweight.check(dw.data[size_t(((o * s.kh + kh) * s.kw + kw) * I + i)], "dweight");
  }
}

using Arguments = std::unordered_map<int, memory>;

peer::Timing time_conv(const peer::Request& r, const Conv& s, bool any) {
  const memory::dims xs{s.n, s.c, s.h, s.w}, ys{s.n, s.o, s.oh(), s.ow()}, bs{s.o}, strides{s.sh, s.sw},
      dilates{s.dh - 1, s.dw - 1}, before{s.top, s.left}, after{s.bottom, s.right};
  const bool grouped = s.groups > 1;
  const memory::dims ws = grouped ? memory::dims{s.groups, s.o / s.groups, s.inner(), s.kh, s.kw}
                                  : memory::dims{s.o, s.inner(), s.kh, s.kw};
  const Tag plain_w = grouped ? Tag::gohwi : Tag::ohwi;
  const Tag image = any ? Tag::any : Tag::nhwc;
  const Md x_md(xs, f32, image), y_md(ys, f32, image), w_md(ws, f32, Tag::any);
  const Md b_md = s.bias ? Md(bs, f32, Tag::a) : Md();
  primitive_attr attr;
  attr.set_scratchpad_mode(scratchpad_mode::user);
  const auto direct = algorithm::convolution_direct;
  convolution_forward::primitive_desc fwd(cpu(), prop_kind::forward_training, direct, x_md, w_md, b_md, y_md, strides,
                                          dilates, before, after, attr);
  Plain x(xs, Tag::nhwc, 1), w(ws, plain_w, 77), b(bs, Tag::a, 5), y(ys, Tag::nhwc, s.backward ? 999 : 0),
      dx(xs, Tag::nhwc, 0), dw(ws, plain_w, 0);

  std::vector<primitive> steps;
  std::vector<std::vector<Arguments>> arguments;  // [set][step]
  std::function<void()> read_back;
  memory first_y, first_dx, first_dw;
  if (!s.backward) {
    steps.push_back(convolution_forward(fwd));
    memory scratch(fwd.scratchpad_desc(), cpu());
    for (int64_t i = 0; i < r.sets(); i++) {
      memory out(fwd.dst_desc(), cpu());
      Arguments a{{DNNL_ARG_SRC, x.in(fwd.src_desc())},
                  {DNNL_ARG_WEIGHTS, w.in(fwd.weights_desc())},
                  {DNNL_ARG_DST, out},
                  {DNNL_ARG_SCRATCHPAD, scratch}};
      if (s.bias) a.insert({DNNL_ARG_BIAS, b.in(fwd.bias_desc())});
      arguments.push_back({a});
      if (i == 0) first_y = out;
    }
  } else {
    convolution_backward_data::primitive_desc data(cpu(), direct, x_md, w_md, y_md, strides, dilates, before, after,
                                                   fwd, attr);
    convolution_backward_weights::primitive_desc weights(cpu(), direct, x_md, w_md, b_md, y_md, strides, dilates,
                                                         before, after, fwd, attr);
    steps.push_back(convolution_backward_data(data));
    steps.push_back(convolution_backward_weights(weights));
    memory scratch_d(data.scratchpad_desc(), cpu()), scratch_w(weights.scratchpad_desc(), cpu());
    for (int64_t i = 0; i < r.sets(); i++) {
      memory dx_mem(data.diff_src_desc(), cpu()), dw_mem(weights.diff_weights_desc(), cpu());
      Arguments d{{DNNL_ARG_DIFF_DST, y.in(data.diff_dst_desc())},
                  {DNNL_ARG_WEIGHTS, w.in(data.weights_desc())},
                  {DNNL_ARG_DIFF_SRC, dx_mem},
                  {DNNL_ARG_SCRATCHPAD, scratch_d}};
      Arguments g{{DNNL_ARG_SRC, x.in(weights.src_desc())},
                  {DNNL_ARG_DIFF_DST, y.in(weights.diff_dst_desc())},
                  {DNNL_ARG_DIFF_WEIGHTS, dw_mem},
                  {DNNL_ARG_SCRATCHPAD, scratch_w}};
      if (s.bias) g.insert({DNNL_ARG_DIFF_BIAS, memory(weights.diff_bias_desc(), cpu())});
      arguments.push_back({d, g});
      if (i == 0) first_dx = dx_mem, first_dw = dw_mem;
    }
  }
  auto run = [&](int64_t set) {
    for (size_t i = 0; i < steps.size(); i++) steps[i].execute(queue(), arguments[size_t(set)][i]);
    queue().wait();
  };
  run(0);
  if (s.backward) dx.out_of(first_dx), dw.out_of(first_dw);
  else y.out_of(first_y);
  check(s, x, w, b, y, dx, dw);
  return peer::measure(r, run);
}

}  // namespace

int main(int argc, char** argv) {
  std::map<std::string, bool> faster;  // request without its time -> whether `any` won
  return peer::serve(argc, argv, [&](const peer::Request& r) {
    if (r.op != "conv") throw std::runtime_error("onednn_conv knows conv, not " + r.op);
    const Conv s = Conv::parse(r);
    omp_set_num_threads(r.threads());  // before a primitive is made: its work is cut for that number
    std::string layout = r.text("layout", "best");
    if (layout != "any" && layout != "nhwc" && layout != "best")
      throw std::runtime_error("conv: layout is '" + layout + "', accepted are any, nhwc, best");
    bool any = layout == "any";
    if (layout == "best") {
      std::string key;
      for (const auto& [name, value] : r.fields)
        if (name != "seconds") key += name + value + ' ';
      if (!faster.contains(key)) {
        peer::Request brief = r;
        brief.fields["seconds"] = std::to_string(std::min(0.2, r.seconds()));
        faster[key] = time_conv(brief, s, true).quantile(0.1) <= time_conv(brief, s, false).quantile(0.1);
      }
      any = faster[key];
    }
    peer::Timing t = time_conv(r, s, any);
    const dnnl_version_t* v = dnnl_version();
    auto number = [](int n) { return std::to_string(n); };
    std::string version = "oneDNN " + number(v->major) + "." + number(v->minor) + "." + number(v->patch);
    return peer::Answer{"onednn", version, any ? "any" : "nhwc", t, s.flops(), s.bytes()};
  });
}
