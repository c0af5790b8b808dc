#include "framework/base/sign_of_life.hpp"

#include <atomic>

namespace kronlab {
namespace {

std::atomic<std::uint64_t> signs{0};

}  // namespace

void SignOfLife::give() { signs.fetch_add(1, std::memory_order_relaxed); }
std::uint64_t SignOfLife::count() { return signs.load(std::memory_order_relaxed); }

}  // namespace kronlab
