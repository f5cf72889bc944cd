#include "agent/rpc/conversions.h"

#include <variant>

#include "catch2/catch.hpp"
#include "tests/support/status_matchers.h"

namespace cupel::agent {
namespace {

using testing::StatusIs;
using testing::StatusOf;

v1::VerifierMessage ValidChallenge() {
  v1::VerifierMessage message;
  v1::Challenge& challenge = *message.mutable_challenge();
  challenge.set_nonce(std::string(32, 'n'));
  challenge.set_certificate_sha256(std::string(32, 'c'));
  v1::BankSelection& selection = *challenge.add_selection();
  selection.set_bank("sha256");
  selection.add_pcrs(0);
  selection.add_pcrs(23);
  challenge.mutable_answer_within()->set_seconds(10);
  challenge.mutable_least_interval()->set_nanos(100'000'000);
  challenge.set_now(true);
  return message;
}

TEST_CASE("FromProto: a challenge") {
  const auto message = FromProto(ValidChallenge());
  REQUIRE(message.ok());
  const auto& challenge = std::get<ChallengeMessage>(*message);
  CHECK(challenge.nonce == std::vector<uint8_t>(32, 'n'));
  CHECK(challenge.certificate_sha256 == std::vector<uint8_t>(32, 'c'));
  CHECK(challenge.selection.ToString() == "sha256:0,23");
  CHECK(challenge.answer_within == absl::Seconds(10));
  CHECK(challenge.least_interval == absl::Milliseconds(100));
  CHECK(challenge.now);
}

TEST_CASE("FromProto: a selection that is none") {
  v1::VerifierMessage message = ValidChallenge();
  v1::Challenge& challenge = *message.mutable_challenge();
  SECTION("unknown bank") {
    challenge.mutable_selection(0)->set_bank("sha257");
  }
  SECTION("PCR 24") { challenge.mutable_selection(0)->add_pcrs(24); }
  SECTION("PCR 2^32 - 1") {
    challenge.mutable_selection(0)->add_pcrs(0xffffffff);
  }
  SECTION("a PCR twice") { challenge.mutable_selection(0)->add_pcrs(23); }
  SECTION("descending") { challenge.mutable_selection(0)->add_pcrs(5); }
  SECTION("a bank twice") { challenge.add_selection()->set_bank("sha256"); }
  CHECK_THAT(StatusOf(FromProto(message)),
             StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_CASE("JoinedFromProto: a verdict brings its challenge along") {
  v1::VerifierMessage message;
  message.mutable_verdict()->set_state("TRUSTED");
  CHECK_FALSE(JoinedFromProto(message).value().has_value());
  v1::Challenge& next = *message.mutable_verdict()->mutable_next();
  next = ValidChallenge().challenge();
  const auto joined = JoinedFromProto(message);
  REQUIRE(joined.ok());
  REQUIRE(joined->has_value());
  CHECK(std::get<ChallengeMessage>(**joined).now);
  message.mutable_verdict()->set_reason("because");
  const auto alone = FromProto(message);
  REQUIRE(alone.ok());
  REQUIRE(std::holds_alternative<VerdictMessage>(*alone));
  CHECK(std::get<VerdictMessage>(*alone).reason == "because");
  // What is alone brings nothing.
  CHECK_FALSE(JoinedFromProto(ValidChallenge()).value().has_value());

  next.mutable_selection(0)->add_pcrs(24);
  CHECK_THAT(StatusOf(JoinedFromProto(message)),
             StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_CASE("FromProto: no message") {
  CHECK_THAT(StatusOf(FromProto({})),
             StatusIs(absl::StatusCode::kInvalidArgument, "no kind"));
}

TEST_CASE("ToProto: a quote with its values") {
  QuoteMessage quote{.attest = {1}, .signature = {2}, .nonce = {3}};
  REQUIRE(
      quote.pcrs
          .Set(10, crypto::Digest::Filled(crypto::HashAlgorithm::kSha256, 7))
          .ok());
  const v1::AgentMessage message = ToProto(quote);
  CHECK(message.quote().attest() == "\x01");
  CHECK(message.quote().signature() == "\x02");
  CHECK(message.quote().nonce() == "\x03");
  REQUIRE(message.quote().pcrs_size() == 1);
  CHECK(message.quote().pcrs(0).bank() == "sha256");
  CHECK(message.quote().pcrs(0).pcr() == 10);
  CHECK(message.quote().pcrs(0).value() == std::string(32, '\x07'));
}

}  // namespace
}  // namespace cupel::agent
