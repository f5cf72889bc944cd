#include "verifier/rpc/peer.h"

#include "catch2/catch.hpp"

namespace cupel::verifier {
namespace {

TEST_CASE("A peer is counted by its address, an IPv6 one by its network") {
  CHECK(PeerAddress("ipv4:10.0.0.1:4711") == "10.0.0.1");
  CHECK(PeerAddress("ipv6:%5B2001:db8:0:1:2:3:4:5%5D:4711") ==
        "2001:db8:0:1::/64");
  CHECK(PeerAddress("ipv6:[2001:db8:0:1:9::1]:4712") == "2001:db8:0:1::/64");
  CHECK(PeerAddress("ipv6:%5Bfe80::1%25eth0%5D:4711") == "fe80::/64");
  CHECK(PeerAddress("ipv6:%5B::1%5D:4711") == "::1");
  CHECK(PeerAddress("ipv6:%5B::ffff:10.0.0.1%5D:4711") == "10.0.0.1");
}

TEST_CASE("A peer of no known form is counted as it is") {
  CHECK(PeerAddress("") == "");
  CHECK(PeerAddress("unix:") == "unix:");
  CHECK(PeerAddress("ipv4:") == "ipv4:");
}

}  // namespace
}  // namespace cupel::verifier
