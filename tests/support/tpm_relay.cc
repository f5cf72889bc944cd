#include "tests/support/tpm_relay.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "tests/support/unix_stream.h"

namespace cupel::testing {
namespace {

constexpr int kPollMilliseconds = 20;
constexpr int kAnswerMilliseconds = 10000;
// CMD_INIT without flags, big-endian (swtpm, tpm_ioctl.h).
constexpr std::array<uint8_t, 8> kInit = {0, 0, 0, 2, 0, 0, 0, 0};

[[noreturn]] void Die(const char* what) {
  std::perror(what);
  std::abort();
}

sockaddr_un Address(const std::string& path) {
  const auto address = UnixAddress(path);
  if (!address.ok()) Die("a socket's long path");
  return *address;
}

int Socket() {
  const int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (made < 0) Die("socket");
  return made;
}

int Listen(const std::string& path) {
  const int listener = Socket();
  const sockaddr_un address = Address(path);
  if (bind(listener, reinterpret_cast<const sockaddr*>(&address),
           sizeof(address)) != 0 ||
      listen(listener, 1) != 0) {
    Die("listening");
  }
  return listener;
}

bool IsReadable(int descriptor, int milliseconds) {
  pollfd waiting = {descriptor, POLLIN, 0};
  return poll(&waiting, 1, milliseconds) > 0;
}

}  // namespace

TpmRelay::TpmRelay(const std::string& front, std::string back)
    : back_path_(std::move(back)), listener_(Listen(front)) {
  serving_ = std::thread([this] { Serve(); });
}

TpmRelay::~TpmRelay() {
  ending_ = true;
  serving_.join();
  close(listener_);
  if (front_ >= 0) close(front_);
  if (back_ >= 0) close(back_);
}

void TpmRelay::Serve() {
  while (!ending_ && !IsReadable(listener_, kPollMilliseconds)) {
  }
  if (ending_) return;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    front_ = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    back_ = Socket();
    const sockaddr_un address = Address(back_path_);
    if (front_ < 0 ||
        connect(back_, reinterpret_cast<const sockaddr*>(&address),
                sizeof(address)) != 0) {
      Die("the TPM's control channel");
    }
  }
  std::array<pollfd, 2> waiting = {{{front_, POLLIN, 0}, {back_, POLLIN, 0}}};
  while (!ending_) {
    if (poll(waiting.data(), waiting.size(), kPollMilliseconds) <= 0) continue;
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!PassOn(front_, back_) || !PassOn(back_, front_)) break;
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  shutdown(front_, SHUT_RDWR);
  shutdown(back_, SHUT_RDWR);
}

// QEMU hands over the socket for the TPM's commands on this channel.
bool TpmRelay::PassOn(int from, int to) {
  std::array<uint8_t, 4096> buffer;
  alignas(cmsghdr) std::array<uint8_t, CMSG_SPACE(sizeof(int))> control;
  iovec part = {buffer.data(), buffer.size()};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t size = recvmsg(from, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (size < 0) return errno == EAGAIN || errno == EINTR;
  if (size == 0) return false;
  part.iov_len = static_cast<size_t>(size);
  const bool sent = sendmsg(to, &message, MSG_NOSIGNAL) == size;
  if (const cmsghdr* const header = CMSG_FIRSTHDR(&message);
      header != nullptr && header->cmsg_type == SCM_RIGHTS) {
    int passed = -1;
    std::memcpy(&passed, CMSG_DATA(header), sizeof(passed));
    close(passed);
  }
  return sent;
}

absl::Status TpmRelay::PowerCycle() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (back_ < 0) return absl::UnavailableError("no TPM");
  if (send(back_, kInit.data(), kInit.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(kInit.size())) {
    return absl::UnavailableError("the TPM is gone");
  }
  std::array<uint8_t, 4> answer = {1};
  if (!IsReadable(back_, kAnswerMilliseconds) ||
      recv(back_, answer.data(), answer.size(), 0) !=
          static_cast<ssize_t>(answer.size()) ||
      answer != std::array<uint8_t, 4>{}) {
    return absl::InternalError("swtpm does not power the TPM up");
  }
  return absl::OkStatus();
}

}  // namespace cupel::testing
