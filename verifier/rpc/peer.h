// Who is at the other end of a connection.
#ifndef CUPEL_VERIFIER_RPC_PEER_H_
#define CUPEL_VERIFIER_RPC_PEER_H_

#include <string>

#include "absl/strings/string_view.h"

namespace cupel::verifier {

// The address alone, by which peers are counted, of what gRPC calls a peer:
// "10.0.0.1" of "ipv4:10.0.0.1:4711"; of an IPv6 address, of which whoever has
// one has 2^64, the network of 64 bits: "2001:db8:0:1::/64". Anything else is
// returned as it is.
std::string PeerAddress(absl::string_view peer);

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_RPC_PEER_H_
