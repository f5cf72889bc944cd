#include "verifier/session/byte_budget.h"

namespace cupel::verifier {

ByteBudget::Reservation::~Reservation() {
  if (budget_ != nullptr) budget_->used_ -= size_;
}

bool ByteBudget::Reservation::GrowTo(uint64_t size) {
  if (size <= size_) return true;
  if (budget_ != nullptr) {
    const uint64_t more = size - size_;
    uint64_t used = budget_->used_;
    do {
      if (more > budget_->limit_ - used) return false;
    } while (!budget_->used_.compare_exchange_weak(used, used + more));
  }
  size_ = size;
  return true;
}

}  // namespace cupel::verifier
