#include "agent/rpc/enrollment_client.h"

#include "catch2/catch.hpp"
#include "tests/agent/rpc/fake_verifier.h"
#include "tests/support/status_matchers.h"

namespace cupel::agent {
namespace {

using testing::StatusIs;
using testing::StatusOf;
using testing::TestCa;

constexpr absl::Duration kTimeout = absl::Seconds(20);

absl::StatusOr<EnrollmentClient::Begun> Begin(const FakeVerifier& verifier,
                                              const std::string& roots,
                                              const std::string& token = "") {
  const auto client = EnrollmentClient::Create(verifier.address(),
                                               {.root_certificates = roots});
  if (!client.ok()) return client.status();
  return client->Begin({.agent_id = {1, 2},
                        .ek_certificates = {{3}, {4}},
                        .ek_template = "L-1",
                        .ak_public = {5},
                        .enrollment_token = token,
                        .agent_version = "0.1"},
                       kTimeout);
}

TEST_CASE("EnrollmentClient: carries both calls, and shows the certificate") {
  const TestCa ca;
  FakeVerifier verifier(ca.IssueServer(), {});
  const auto begun = Begin(verifier, ca.pem(), "token");
  REQUIRE(begun.ok());
  CHECK(begun->certificate_sha256 == verifier.certificate().sha256);
  CHECK(begun->challenge.cookie ==
        std::vector<uint8_t>{'c', 'o', 'o', 'k', 'i', 'e'});
  CHECK(begun->challenge.credential_blob.size() == 4);
  CHECK(begun->challenge.encrypted_secret.size() == 6);
  CHECK(verifier.begun.agent_id() == "\x01\x02");
  CHECK(verifier.begun.ek_certificates_size() == 2);
  CHECK(verifier.begun.ek_template() == "L-1");
  CHECK(verifier.begun.ak_public() == "\x05");
  CHECK(verifier.begun.enrollment_token() == "token");

  const auto client = EnrollmentClient::Create(verifier.address(),
                                               {.root_certificates = ca.pem()});
  REQUIRE(client.ok());
  const auto state = client->Complete({.cookie = {1}, .proof = {2}}, kTimeout);
  REQUIRE(state.ok());
  CHECK(*state == "ENROLLED");
  CHECK(verifier.completed.cookie() == "\x01");
  CHECK(verifier.completed.proof() == "\x02");
}

TEST_CASE("EnrollmentClient: the verifier's refusal, fit for a terminal") {
  const TestCa ca;
  const FakeVerifier verifier(ca.IssueServer(), {});
  const auto status = StatusOf(Begin(verifier, ca.pem(), "wrong"));
  CHECK_THAT(status,
             StatusIs(absl::StatusCode::kPermissionDenied, "no such token"));
  CHECK(status.message().find('\x1b') == absl::string_view::npos);
}

TEST_CASE("EnrollmentClient: enrols nowhere that TLS does not trust") {
  const TestCa ca;
  const TestCa other("Other CA");
  std::string host = "localhost";
  std::string roots = ca.pem();
  SECTION("signed by another CA") { roots = other.pem(); }
  SECTION("for another host") { host = "elsewhere.test"; }
  const FakeVerifier verifier(ca.IssueServer(host), {});
  CHECK_THAT(StatusOf(Begin(verifier, roots)),
             StatusIs(absl::StatusCode::kUnavailable));
  CHECK(verifier.begun.agent_id().empty());
}

TEST_CASE("MakeVerifierChannel: no roots, no channel") {
  const TestCa ca;
  std::string address = "localhost:1";
  std::string roots = ca.pem();
  std::string what;
  SECTION("none") {
    roots.clear();
    what = "no PEM block";
  }
  SECTION("no certificate in them") {
    roots = "# certificates go here\n";
    what = "no PEM block";
  }
  SECTION("malformed") {
    roots.replace(roots.size() / 2, 8, "********");
    what = "PEM block 1";
  }
  SECTION("the second one cut") {
    roots += roots.substr(0, roots.size() / 2);
    what = "PEM block 2";
  }
  SECTION("no address") {
    address.clear();
    what = "HOST:PORT";
  }
  CHECK_THAT(
      StatusOf(MakeVerifierChannel(address, {.root_certificates = roots})),
      StatusIs(absl::StatusCode::kInvalidArgument, what));
}

}  // namespace
}  // namespace cupel::agent
