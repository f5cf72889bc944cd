#ifndef CUPEL_TESTS_AGENT_RPC_MUTE_SERVER_H_
#define CUPEL_TESTS_AGENT_RPC_MUTE_SERVER_H_

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>

#include "catch2/catch.hpp"

namespace cupel::agent {

// Listens, takes connections, and says nothing.
class MuteServer {
 public:
  MuteServer() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    REQUIRE(bind(fd_, any, size) == 0);
    REQUIRE(listen(fd_, 8) == 0);
    REQUIRE(getsockname(fd_, any, &size) == 0);
    port_ = ntohs(address.sin_port);
  }
  ~MuteServer() { close(fd_); }
  uint16_t port() const { return port_; }

 private:
  int fd_;
  uint16_t port_ = 0;
};

}  // namespace cupel::agent

#endif  // CUPEL_TESTS_AGENT_RPC_MUTE_SERVER_H_
