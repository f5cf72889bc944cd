#include "tests/agent/tpm/cutting_proxy.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <vector>

namespace cupel::agent {
namespace {

constexpr size_t kHeaderSize = 10;  // u16 tag | u32 size | u32 code
constexpr int kPollMs = 20;

void Require(bool condition, const char* what) {
  if (condition) return;
  std::perror(what);
  std::abort();
}

int MakeSocket() {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  Require(fd >= 0, "socket");
  return fd;
}

sockaddr_un AddressOf(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  Require(path.size() < sizeof(address.sun_path), "path");
  std::ranges::copy(path, address.sun_path);
  return address;
}

bool ReadAll(int fd, uint8_t* data, size_t size) {
  while (size > 0) {
    const ssize_t got = read(fd, data, size);
    if (got <= 0) return false;
    data += got;
    size -= static_cast<size_t>(got);
  }
  return true;
}

// A command or an answer; nullopt where the other side is gone.
std::optional<std::vector<uint8_t>> ReadMessage(int fd) {
  std::vector<uint8_t> message(kHeaderSize);
  if (!ReadAll(fd, message.data(), message.size())) return std::nullopt;
  size_t size = 0;
  for (size_t i = 2; i < 6; ++i) size = size << 8 | message[i];
  if (size < kHeaderSize) return std::nullopt;
  message.resize(size);
  if (!ReadAll(fd, message.data() + kHeaderSize, size - kHeaderSize)) {
    return std::nullopt;
  }
  return message;
}

bool Send(int fd, const std::vector<uint8_t>& message) {
  return send(fd, message.data(), message.size(), MSG_NOSIGNAL) ==
         static_cast<ssize_t>(message.size());
}

}  // namespace

CuttingProxy::CuttingProxy(const std::string& tpm_path)
    : tpm_path_(tpm_path), listener_(MakeSocket()) {
  const sockaddr_un address = AddressOf(folder_ / "tpm");
  Require(bind(listener_, reinterpret_cast<const sockaddr*>(&address),
               sizeof(address)) == 0,
          "bind");
  Require(listen(listener_, 8) == 0, "listen");
  std::filesystem::create_symlink(tpm_path + ".ctrl", folder_ / "tpm.ctrl");
  thread_ = std::thread([this] { Serve(); });
}

CuttingProxy::~CuttingProxy() {
  ending_ = true;
  thread_.join();
  close(listener_);
}

void CuttingProxy::Serve() {
  while (!ending_) {
    pollfd wait = {.fd = listener_, .events = POLLIN, .revents = 0};
    if (poll(&wait, 1, kPollMs) <= 0) continue;
    const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) continue;
    ServeClient(client);
    close(client);
  }
}

void CuttingProxy::ServeClient(int client) {
  const int tpm = MakeSocket();
  const sockaddr_un address = AddressOf(tpm_path_);
  if (connect(tpm, reinterpret_cast<const sockaddr*>(&address),
              sizeof(address)) == 0) {
    while (const auto command = ReadMessage(client)) {
      if (!Send(tpm, *command)) break;
      const auto answer = ReadMessage(tpm);
      if (!answer.has_value()) break;
      if (until_cut_ == 0) {
        until_cut_ = -1;
        break;
      }
      if (until_cut_ > 0) --until_cut_;
      if (!Send(client, *answer)) break;
    }
  }
  close(tpm);
}

}  // namespace cupel::agent
