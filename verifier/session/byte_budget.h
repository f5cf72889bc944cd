// How much memory something may take in all, whoever takes it.
#ifndef CUPEL_VERIFIER_SESSION_BYTE_BUDGET_H_
#define CUPEL_VERIFIER_SESSION_BYTE_BUDGET_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

namespace cupel::verifier {

// Thread-safe.
class ByteBudget {
 public:
  // Bytes that are given back when it is destroyed. Used by one thread at a
  // time.
  class Reservation {
   public:
    // `budget` may be nullptr: then there is no bound.
    explicit Reservation(std::shared_ptr<ByteBudget> budget)
        : budget_(std::move(budget)) {}
    ~Reservation();
    Reservation(const Reservation&) = delete;
    Reservation& operator=(const Reservation&) = delete;

    // Has at least `size` bytes from now on. False, and nothing changes, if
    // they are not to be had.
    bool GrowTo(uint64_t size);

   private:
    const std::shared_ptr<ByteBudget> budget_;
    uint64_t size_ = 0;
  };

  explicit ByteBudget(uint64_t limit) : limit_(limit) {}

  uint64_t used() const { return used_; }

 private:
  const uint64_t limit_;
  std::atomic<uint64_t> used_ = 0;
};

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_SESSION_BYTE_BUDGET_H_
