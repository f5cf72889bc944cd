#ifndef CUPEL_COMMON_UTIL_SECRET_H_
#define CUPEL_COMMON_UTIL_SECRET_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace cupel {

// Bytes that must not leak: wiped when destroyed or moved from, without a way
// to print them, compared in constant time. `Reveal` is the one way in, so that
// every use can be found by searching for it.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::span<const uint8_t> bytes)
      : bytes_(bytes.begin(), bytes.end()) {}
  Secret(Secret&& other) noexcept : bytes_(std::move(other.bytes_)) {
    other.bytes_.clear();
  }
  Secret& operator=(Secret&& other) noexcept;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret() { Wipe(); }

  size_t size() const { return bytes_.size(); }
  // Aliases this object's memory.
  std::span<const uint8_t> Reveal() const { return bytes_; }

  // Takes time that depends on the sizes alone.
  friend bool operator==(const Secret& a, const Secret& b);

 private:
  void Wipe();

  std::vector<uint8_t> bytes_;
};

}  // namespace cupel

#endif  // CUPEL_COMMON_UTIL_SECRET_H_
