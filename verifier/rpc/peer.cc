#include "verifier/rpc/peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"

namespace cupel::verifier {
namespace {

constexpr char kMappedIpv4[] = "::ffff:";

std::string Ipv6Network(std::string address) {
  // A zone ("%eth0") names this machine's interface.
  address = address.substr(0, address.find('%'));
  in6_addr bytes{};
  if (inet_pton(AF_INET6, address.c_str(), &bytes) != 1) return address;
  if (IN6_IS_ADDR_LOOPBACK(&bytes)) return address;
  std::fill(bytes.s6_addr + 8, bytes.s6_addr + 16, uint8_t{0});
  char text[INET6_ADDRSTRLEN];
  if (inet_ntop(AF_INET6, &bytes, text, sizeof(text)) == nullptr) {
    return address;
  }
  return absl::StrCat(text, "/64");
}

}  // namespace

std::string PeerAddress(absl::string_view peer) {
  const size_t port = peer.rfind(':');
  if (port == absl::string_view::npos) return std::string(peer);
  if (absl::StartsWith(peer, "ipv4:") && port > 5) {
    return std::string(peer.substr(5, port - 5));
  }
  if (absl::StartsWith(peer, "ipv6:") && port > 5) {
    // gRPC writes "ipv6:%5B::1%5D:4711".
    const std::string address = absl::StrReplaceAll(
        peer.substr(5, port - 5),
        {{"%5B", ""}, {"%5D", ""}, {"[", ""}, {"]", ""}, {"%25", "%"}});
    if (absl::StartsWith(address, kMappedIpv4) &&
        absl::StrContains(address, '.')) {
      return std::string(absl::StripPrefix(address, kMappedIpv4));
    }
    return Ipv6Network(address);
  }
  return std::string(peer);
}

}  // namespace cupel::verifier
