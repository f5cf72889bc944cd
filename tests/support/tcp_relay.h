// Passes TCP connections on: for peers that come from another address, or stop
// in the middle of what they say.
#ifndef CUPEL_TESTS_SUPPORT_TCP_RELAY_H_
#define CUPEL_TESTS_SUPPORT_TCP_RELAY_H_

#include <atomic>
#include <cstddef>
#include <limits>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace cupel::testing {

struct TcpRelayOptions {
  // Of the loopback network, 127.0.0.0/8.
  std::string source = "127.0.0.1";
  // So many bytes of each connection reach the target; the others wait for
  // ever.
  size_t max_size = std::numeric_limits<size_t>::max();
};

// Listens on a free port of 127.0.0.1 until it is destroyed, which ends all
// that it passes on. Ends the process where it can't listen.
class TcpRelay {
 public:
  // `target` is "127.0.0.1:PORT".
  explicit TcpRelay(const std::string& target, TcpRelayOptions options = {});
  ~TcpRelay();
  TcpRelay(const TcpRelay&) = delete;
  TcpRelay& operator=(const TcpRelay&) = delete;

  std::string address() const;

 private:
  void Accept();
  void Pass(int from, int to, size_t max_size);

  const TcpRelayOptions options_;
  const int target_port_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> ending_ = false;
  std::mutex mutex_;  // guards what follows
  std::vector<int> sockets_;
  std::vector<std::thread> passing_;
  std::thread accepting_;
};

// A connection to "127.0.0.1:PORT", without anything said on it. Ends the
// process if there is none.
class RawConnection {
 public:
  explicit RawConnection(const std::string& target);
  ~RawConnection();
  RawConnection(const RawConnection&) = delete;
  RawConnection& operator=(const RawConnection&) = delete;

  bool Write(const std::string& bytes);
  // True once the peer has closed it; waits for that, up to 20 seconds.
  bool AwaitClose();

 private:
  int socket_ = -1;
};

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_TCP_RELAY_H_
