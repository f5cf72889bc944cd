#include "agent/doctor/tls_probe.h"

#include "catch2/catch.hpp"
#include "common/util/bytes.h"
#include "tests/agent/rpc/fake_verifier.h"
#include "tests/agent/rpc/mute_server.h"
#include "tests/support/status_matchers.h"
#include "tests/support/test_pki.h"

namespace cupel::agent {
namespace {

using ::cupel::testing::IsOk;
using ::cupel::testing::StatusIs;
using ::cupel::testing::StatusOf;
using ::cupel::testing::TestCa;

constexpr absl::Duration kPatience = absl::Seconds(30);

void Silence(FakeVerifier::Stream& /*stream*/) {}

TEST_CASE("ProbeTls: a verifier as it should be") {
  const TestCa ca;
  const FakeVerifier verifier(ca.IssueServer(), Silence);
  const auto peer = ProbeTls(
      "localhost", static_cast<uint16_t>(verifier.port()), ca.pem(), kPatience);
  REQUIRE_THAT(StatusOf(peer), IsOk());
  CHECK(peer->speaks_http2);
  CHECK(peer->tls_version == "TLSv1.3");
  CHECK(peer->certificate.fingerprint() == verifier.certificate().sha256);
}

TEST_CASE("ProbeTls: whom the agent would not talk to is no verifier") {
  const TestCa ca;
  const TestCa other("Other CA");
  const FakeVerifier verifier(ca.IssueServer("elsewhere.test"), Silence);
  const auto port = static_cast<uint16_t>(verifier.port());
  CHECK_THAT(StatusOf(ProbeTls("localhost", port, ca.pem(), kPatience)),
             StatusIs(absl::StatusCode::kPermissionDenied, "hostname"));
  CHECK_THAT(StatusOf(ProbeTls("127.0.0.1", port, ca.pem(), kPatience)),
             StatusIs(absl::StatusCode::kPermissionDenied, "IP address"));
  const FakeVerifier good(ca.IssueServer(), Silence);
  CHECK_THAT(StatusOf(ProbeTls("localhost", static_cast<uint16_t>(good.port()),
                               other.pem(), kPatience)),
             StatusIs(absl::StatusCode::kPermissionDenied, "issuer"));
}

TEST_CASE("ProbeTls: nobody there, or nobody who speaks TLS") {
  const TestCa ca;
  CHECK_THAT(StatusOf(ProbeTls("localhost", 1, ca.pem(), kPatience)),
             StatusIs(absl::StatusCode::kUnavailable, "refused"));
  CHECK_THAT(StatusOf(ProbeTls("no-such-host.invalid", 1, ca.pem(), kPatience)),
             StatusIs(absl::StatusCode::kNotFound, "resolved"));
  const MuteServer mute;
  CHECK_THAT(StatusOf(ProbeTls("127.0.0.1", mute.port(), ca.pem(),
                               absl::Milliseconds(50))),
             StatusIs(absl::StatusCode::kDeadlineExceeded));
  CHECK_THAT(StatusOf(ProbeTls("localhost", 1, "", kPatience)),
             StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace cupel::agent
