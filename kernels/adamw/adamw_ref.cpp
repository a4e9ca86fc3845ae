#include <cmath>

#include "kernels/adamw/adamw.h"

namespace dr {

void AdamW::reference(const In& in, const Out& out, const Out& bound) const {
  const double lr = in.lr.at<double>(0), scale = in.grad_scale.at<double>(0);
  const double correction1 = in.correction.at<double>(0), correction2 = in.correction.at<double>(1);
  const double b1 = double(beta1), b2 = double(beta2);
  const double *param = in.param.as<double>(), *grad = in.grad.as<double>(), *m = in.m.as<double>(),
               *v = in.v.as<double>();
  for (int64_t i = 0; i < in.param.count(); i++) {
    double m_new = m[i], v_new = v[i], p_new = param[i], m_error = 0, v_error = 0, p_error = 0;
    if (scale != 0) {
      const double g = grad[i] * scale;
      m_new = b1 * m[i] + (1 - b1) * g;
      v_new = b2 * v[i] + (1 - b2) * g * g;
      m_error = 3 * std::fabs((1 - b1) * g) + std::fabs(m_new);  // of g, 1 - beta1 and their product; the fma
      v_error = 5 * (1 - b2) * g * g + v_new;  // of g twice, g * g, 1 - beta2 and the product; the fma

      // A square that underflows is lost: up to sqrt(2^-148) = 2^-74, that is 2^-50 u, in the root.
      const double root = std::sqrt(v_new);
      const double root_error = root * (v_new > 0 ? 0.5 * v_error / v_new + 1 : 0) + 0x1p-50;
      const double denominator = root / std::sqrt(correction2) + double(eps);
      const double denominator_error =
          (root_error + 2 * root) / std::sqrt(correction2) + denominator;  // 1 / sqrt(.): 2; the fma
      const double ratio = m_new / denominator;
      const double ratio_error = m_error / denominator + std::fabs(ratio) * (denominator_error / denominator + 1);
      const double adam = lr / correction1 * ratio, decay = lr * double(weight_decay) * param[i];
      p_new = param[i] - (adam + decay);
      // alpha and its product with the ratio; decay; the fma; the difference.
      p_error = lr / correction1 * ratio_error + 2 * std::fabs(adam) + std::fabs(decay) + std::fabs(adam + decay) +
                std::fabs(p_new);
    }
    out.param.as<double>()[i] = p_new, bound.param.as<double>()[i] = p_error;
    out.m.as<double>()[i] = m_new, bound.m.as<double>()[i] = m_error;
    out.v.as<double>()[i] = v_new, bound.v.as<double>()[i] = v_error;
  }
}

}  // namespace dr
