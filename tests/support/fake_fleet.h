// A verifier for operators that only remembers: its services over real TLS,
// without agents. For tests of programs that talk to one.
#ifndef CUPEL_TESTS_SUPPORT_FAKE_FLEET_H_
#define CUPEL_TESTS_SUPPORT_FAKE_FLEET_H_

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "proto/cupel/v1/fleet.grpc.pb.h"
#include "tests/support/test_pki.h"

namespace cupel::testing {

struct FakeFleetState {
  // Agents that were added, by id, and those that only enrolled.
  std::map<std::string, v1::Agent> agents;
  std::vector<v1::Agent> enrolled;
  std::map<std::string, std::string> policies;  // name: file
  std::vector<std::string> warnings;            // for every policy
  std::vector<v1::Event> events;                // what Watch sends, then ends
  // What was asked for last.
  v1::AddAgentRequest add;
  v1::UpdateAgentRequest update;
  v1::ReactivateRequest reactivate;
  v1::WatchRequest watch;
  v1::CreateTokenRequest token;
  std::set<std::string> allowed_eks;
  std::vector<std::string> stopped;
  std::vector<std::string> attested;
  uint64_t calls = 0;
  // Agents that are added before the verifier can't any more.
  uint64_t room = 1'000'000;
  // What Get answers for every policy, where it is not the policy itself.
  std::string damaged_policy;
};

// Listens on a free port of the loopback until it is destroyed. Ends the
// process if it can't.
class FakeFleet {
 public:
  // Operators have to show a certificate that `operator_ca` (PEM) vouches for.
  FakeFleet(const TestCertificate& certificate, const std::string& operator_ca);
  ~FakeFleet();
  FakeFleet(const FakeFleet&) = delete;
  FakeFleet& operator=(const FakeFleet&) = delete;

  int port() const;
  // To be touched only while no call is being answered.
  FakeFleetState& state();

 private:
  class Services;
  std::unique_ptr<Services> services_;
};

// A certificate for an operator, which vouches for itself: it is the CA too.
struct TestOperator {
  std::string certificate_pem;
  std::string key_pem;
};
TestOperator MakeTestOperator(const std::string& name);

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_FAKE_FLEET_H_
