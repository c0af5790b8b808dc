#include "framework/kernels/distillation.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "framework/kernels/dispatch.hpp"
#include "framework/kernels/strip_sum.hpp"
#include "framework/kernels/vector_math.hpp"

namespace kronlab::kernels {
namespace {

/// A row of student and teacher; log_p(j) = teacher[j] / T - its log sum exp.
template <class Real>
struct Row {
  Index count;
  const Real* student;
  const Real* teacher;
  Real* gradient;  ///< of the same extent, not the student's row
};

template <class Real>
double add_kl(const Row<Real>& row, double temperature, double weight) {
  const Real inverse = static_cast<Real>(1.0 / temperature);
  const Real student_norm = static_cast<Real>(log_sum_exp(row.count, row.student, inverse));
  const Real teacher_norm = static_cast<Real>(log_sum_exp(row.count, row.teacher, inverse));
  const Real scale = static_cast<Real>(weight * temperature);
  const double sum = strip_sum<Real>(row.count, [&](Index j) {
    const Real log_q = row.student[j] * inverse - student_norm, log_p = row.teacher[j] * inverse - teacher_norm;
    const Real p = exponential(log_p);
    row.gradient[j] += scale * (exponential(log_q) - p);
    return p * (log_p - log_q);
  });
  return temperature * temperature * sum;
}

template <class Real>
double add_reverse_kl(const Row<Real>& row, Real student_norm, Real teacher_norm, double weight) {
  const auto ratio = [&](Index j) { return (row.student[j] - student_norm) - (row.teacher[j] - teacher_norm); };
  const double sum = strip_sum<Real>(row.count, [&](Index j) { return exponential(row.student[j] - student_norm) * ratio(j); });
  const Real mean = static_cast<Real>(sum), scale = static_cast<Real>(weight);
#pragma omp simd
  for (Index j = 0; j < row.count; ++j) row.gradient[j] += scale * exponential(row.student[j] - student_norm) * (ratio(j) - mean);
  return sum;
}

template <class Real>
double add_jsd(const Row<Real>& row, Real student_norm, Real teacher_norm, double weight) {
  constexpr Real tiny = std::numeric_limits<Real>::min();
  const auto log_mixture = [&](Index j) {
    const Real q = exponential(row.student[j] - student_norm), p = exponential(row.teacher[j] - teacher_norm);
    return logarithm(std::max(Real{0.5} * (p + q), tiny));
  };
  const double from_student = strip_sum<Real>(row.count, [&](Index j) {
    const Real log_q = row.student[j] - student_norm;
    return exponential(log_q) * (log_q - log_mixture(j));
  });
  const double from_teacher = strip_sum<Real>(row.count, [&](Index j) {
    const Real log_p = row.teacher[j] - teacher_norm;
    return exponential(log_p) * (log_p - log_mixture(j));
  });
  const Real divergence = static_cast<Real>(from_student), scale = static_cast<Real>(0.5 * weight);
#pragma omp simd
  for (Index j = 0; j < row.count; ++j) {
    const Real log_q = row.student[j] - student_norm;
    row.gradient[j] += scale * exponential(log_q) * (log_q - log_mixture(j) - divergence);
  }
  return 0.5 * (from_student + from_teacher);
}

template <class Real>
double add_ce(const Row<Real>& row, double student_norm, std::int32_t target, double weight) {
  const double loss = student_norm - static_cast<double>(row.student[target]);
  if (weight == 0) return loss;
  const Real norm = static_cast<Real>(student_norm), scale = static_cast<Real>(weight);
#pragma omp simd
  for (Index j = 0; j < row.count; ++j) row.gradient[j] += scale * exponential(row.student[j] - norm);
  row.gradient[target] -= scale;
  return loss;
}

template <class Real>
VocabularyLosses losses_of_row(const VocabularyLosses& weights, double temperature, const Row<Real>& row, std::int32_t target) {
  VocabularyLosses losses;
  const double student_norm = log_sum_exp(row.count, row.student, Real{1});
  if (target >= 0) losses.ce = add_ce(row, student_norm, target, weights.ce);
  if (weights.kl != 0) losses.kl = add_kl(row, temperature, weights.kl);
  if (weights.reverse_kl == 0 && weights.jsd == 0) return losses;
  const double teacher_norm = log_sum_exp(row.count, row.teacher, Real{1});
  const Real student = static_cast<Real>(student_norm), teacher = static_cast<Real>(teacher_norm);
  if (weights.reverse_kl != 0) losses.reverse_kl = add_reverse_kl(row, student, teacher, weights.reverse_kl);
  if (weights.jsd != 0) losses.jsd = add_jsd(row, student, teacher, weights.jsd);
  return losses;
}

}  // namespace

VocabularyLosses vocabulary_losses(const VocabularyLosses& weights, double temperature, TensorView student, ConstTensorView teacher,
                                   std::span<const std::int32_t> targets) {
  const bool needs_teacher = weights.kl != 0 || weights.reverse_kl != 0 || weights.jsd != 0;
  KRONLAB_EXPECTS(static_cast<Index>(targets.size()) == student.rows, "{} targets for {} rows", targets.size(), student.rows);
  KRONLAB_EXPECTS(!needs_teacher || (teacher.rows == student.rows && teacher.cols == student.cols), "teacher logits [{}, {}], student logits [{}, {}]",
                  teacher.rows, teacher.cols, student.rows, student.cols);
  KRONLAB_EXPECTS(temperature > 0, "temperature {}", temperature);
  for (const auto target : targets) KRONLAB_EXPECTS(target >= -1 && target < student.cols, "target {} of {} logits", target, student.cols);
  std::vector<VocabularyLosses> rows(targets.size());
  for_real_type(student.dtype, [&]<class Real>(Real) {
    const auto logits = student.as<Real>();
    const auto reference = needs_teacher ? teacher.as<Real>() : ConstMatrixView<Real>();
#pragma omp parallel
    {
      std::vector<Real> gradient(static_cast<std::size_t>(student.cols));
#pragma omp for schedule(static)
      for (Index i = 0; i < student.rows; ++i) {
        std::fill(gradient.begin(), gradient.end(), Real{0});
        Real* row = logits.data + i * logits.stride;
        const auto at = static_cast<std::size_t>(i);
        rows[at] = losses_of_row<Real>(weights, temperature, {student.cols, row, reference.data + i * reference.stride, gradient.data()}, targets[at]);
        std::copy(gradient.begin(), gradient.end(), row);
      }
    }
  });
  VocabularyLosses sum;
  for (const auto& row : rows) sum.ce += row.ce, sum.kl += row.kl, sum.reverse_kl += row.reverse_kl, sum.jsd += row.jsd;
  return sum;
}

double mean_squared_error(ConstTensorView a, ConstTensorView b, double weight, TensorView gradient) {
  KRONLAB_EXPECTS(a.rows == b.rows && a.cols == b.cols && gradient.rows == a.rows && gradient.cols == a.cols && gradient.dtype == a.dtype,
                  "squared error of [{}, {}] and [{}, {}], gradient {} [{}, {}]", a.rows, a.cols, b.rows, b.cols, to_string(gradient.dtype),
                  gradient.rows, gradient.cols);
  const double size = static_cast<double>(a.rows) * static_cast<double>(a.cols);
  std::vector<double> sums(static_cast<std::size_t>(a.rows));
  for_activation_type(a.dtype, [&]<class T>(T) {
    using Real = compute_t<T>;
    const auto of_a = a.as<T>(), of_b = b.as<T>();
    const auto out = gradient.as<T>();
    const Real scale = static_cast<Real>(2.0 * weight / size);
#pragma omp parallel for schedule(static)
    for (Index i = 0; i < a.rows; ++i) {
      const T* x = of_a.data + i * of_a.stride;
      const T* y = of_b.data + i * of_b.stride;
      T* g = out.data + i * out.stride;
      sums[static_cast<std::size_t>(i)] = strip_sum<Real>(a.cols, [=](Index j) {
        const Real difference = static_cast<Real>(x[j]) - static_cast<Real>(y[j]);
        g[j] = static_cast<T>(static_cast<Real>(g[j]) + scale * difference);
        return difference * difference;
      });
    }
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return total / size;
}

}  // namespace kronlab::kernels
