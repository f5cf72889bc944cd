// An owner of a file descriptor.
#ifndef CUPEL_COMMON_UTIL_DESCRIPTOR_H_
#define CUPEL_COMMON_UTIL_DESCRIPTOR_H_

#include <unistd.h>

#include <utility>

namespace cupel {

// Closes what it holds, errors unheard: where they matter, fsync first. A
// negative number is none, so that what open(2) and its like return can be
// handed over unread.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept
      : fd_(std::exchange(other.fd_, kNone)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      Close();
      fd_ = std::exchange(other.fd_, kNone);
    }
    return *this;
  }
  ~Descriptor() { Close(); }

  int get() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }

  void Close() {
    if (is_open()) close(fd_);
    fd_ = kNone;
  }

 private:
  static constexpr int kNone = -1;

  int fd_ = kNone;
};

}  // namespace cupel

#endif  // CUPEL_COMMON_UTIL_DESCRIPTOR_H_
