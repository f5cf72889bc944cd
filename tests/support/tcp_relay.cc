#include "tests/support/tcp_relay.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace cupel::testing {
namespace {

constexpr char kLoopback[] = "127.0.0.1";

[[noreturn]] void Die(const char* what) {
  std::perror(what);
  std::abort();
}

sockaddr_in Address(const std::string& host, int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) Die("address");
  return address;
}

int PortOf(const std::string& target) {
  return std::stoi(target.substr(target.rfind(':') + 1));
}

// -1 where it can't be had.
int Connect(const std::string& source, int port) {
  const int peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (peer < 0) return -1;
  const sockaddr_in from = Address(source, 0);
  const sockaddr_in to = Address(kLoopback, port);
  if (bind(peer, reinterpret_cast<const sockaddr*>(&from), sizeof(from)) != 0 ||
      connect(peer, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) != 0) {
    close(peer);
    return -1;
  }
  return peer;
}

bool WriteAll(int to, const char* bytes, size_t size) {
  while (size > 0) {
    const ssize_t written = send(to, bytes, size, MSG_NOSIGNAL);
    if (written <= 0) return false;
    bytes += written;
    size -= static_cast<size_t>(written);
  }
  return true;
}

}  // namespace

TcpRelay::TcpRelay(const std::string& target, TcpRelayOptions options)
    : options_(std::move(options)), target_port_(PortOf(target)) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener_ < 0) Die("socket");
  sockaddr_in address = Address(kLoopback, 0);
  socklen_t size = sizeof(address);
  if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      listen(listener_, SOMAXCONN) != 0 ||
      getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) !=
          0) {
    Die("listening");
  }
  port_ = ntohs(address.sin_port);
  accepting_ = std::thread([this] { Accept(); });
}

TcpRelay::~TcpRelay() {
  ending_ = true;
  shutdown(listener_, SHUT_RDWR);
  accepting_.join();
  std::vector<std::thread> passing;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const int one : sockets_) shutdown(one, SHUT_RDWR);
    passing = std::move(passing_);
  }
  for (std::thread& thread : passing) thread.join();
  for (const int one : sockets_) close(one);
  close(listener_);
}

std::string TcpRelay::address() const {
  return std::string(kLoopback) + ":" + std::to_string(port_);
}

void TcpRelay::Accept() {
  while (!ending_) {
    const int from = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (from < 0) continue;
    const int to = Connect(options_.source, target_port_);
    const std::lock_guard<std::mutex> lock(mutex_);
    sockets_.push_back(from);
    if (to < 0) {
      shutdown(from, SHUT_RDWR);
      continue;
    }
    sockets_.push_back(to);
    passing_.emplace_back([=, this] { Pass(from, to, options_.max_size); });
    passing_.emplace_back(
        [=, this] { Pass(to, from, std::numeric_limits<size_t>::max()); });
  }
}

void TcpRelay::Pass(int from, int to, size_t max_size) {
  std::array<char, 16384> buffer;
  size_t left = max_size;
  while (true) {
    const ssize_t size = read(from, buffer.data(), buffer.size());
    if (size <= 0) break;
    const size_t passed = std::min(left, static_cast<size_t>(size));
    if (!WriteAll(to, buffer.data(), passed)) break;
    left -= passed;
  }
  shutdown(from, SHUT_RDWR);
  shutdown(to, SHUT_RDWR);
}

RawConnection::RawConnection(const std::string& target)
    : socket_(Connect(kLoopback, PortOf(target))) {
  if (socket_ < 0) Die("connecting");
}

RawConnection::~RawConnection() { close(socket_); }

bool RawConnection::Write(const std::string& bytes) {
  return WriteAll(socket_, bytes.data(), bytes.size());
}

bool RawConnection::AwaitClose() {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  std::array<char, 4096> buffer;
  while (std::chrono::steady_clock::now() < end) {
    pollfd waiting{.fd = socket_, .events = POLLIN, .revents = 0};
    if (poll(&waiting, 1, 100) <= 0) continue;
    if (read(socket_, buffer.data(), buffer.size()) <= 0) return true;
  }
  return false;
}

}  // namespace cupel::testing
