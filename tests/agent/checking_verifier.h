// A verifier that checks everything that an agent proves, and judges nothing.
#ifndef CUPEL_TESTS_AGENT_CHECKING_VERIFIER_H_
#define CUPEL_TESTS_AGENT_CHECKING_VERIFIER_H_

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/tpm/attest.h"
#include "common/tpm/ek_template.h"
#include "common/tpm/public_area.h"
#include "common/util/agent_id.h"
#include "tests/agent/rpc/fake_verifier.h"
#include "tests/support/test_pki.h"

namespace cupel::agent {

// One quote that passed, over a list that explains it.
struct SeenQuote {
  tpm::ClockInfo clock_info;
  uint64_t explained_count = 0;  // entries that it covers
  uint64_t pending_count = 0;    // entries behind them
};

// Enrols one agent with MakeCredential, then challenges it again and again over
// PCR 0 to 10 of SHA-256, and checks signature, challenge, AK, EK and the list
// from its first entry on. Knows one boot: a reset of the TPM makes it start
// over.
class CheckingVerifier {
 public:
  explicit CheckingVerifier(const testing::TestCertificate& certificate);
  ~CheckingVerifier();

  std::string address() const { return server_->address(); }
  int stream_count() const { return server_->stream_count; }

  // Waits, for long, until a quote that `wanted` takes was seen after the first
  // `skip`. False if there was none, or if something did not pass.
  bool WaitForQuote(absl::FunctionRef<bool(const SeenQuote&)> wanted,
                    size_t skip = 0);
  bool WaitForEntries(uint64_t count) {
    return WaitForQuote(
        [&](const SeenQuote& quote) { return quote.explained_count >= count; });
  }

  std::vector<SeenQuote> quotes();
  int enrollment_count();
  // What has not passed, the first of it.
  absl::Status failure();
  // Of the last enrolment.
  std::optional<tpm::EkTemplate> ek_template();
  std::optional<tpm::PublicArea> ak();

  // From now on streams are refused, as for an agent that nobody has added.
  void Refuse(bool refuse);
  // How long an unchanged list may go without a quote.
  void SetInterval(absl::Duration interval);

 private:
  struct Enrolled {
    AgentId agent_id;
    tpm::EkTemplate ek_template = tpm::EkTemplate::kL1;
    std::vector<uint8_t> ek_name = {};
    tpm::PublicArea ak = {};
    std::vector<uint8_t> secret = {};
  };

  absl::Status Begin(const v1::BeginEnrollmentRequest& request,
                     v1::BeginEnrollmentReply& reply);
  absl::Status Complete(const v1::CompleteEnrollmentRequest& request);
  void Play(FakeVerifier::Stream& stream);
  absl::Status PlayRounds(FakeVerifier::Stream& stream);
  absl::StatusOr<tpm::ClockInfo> CheckQuote(const v1::Quote& quote,
                                            const std::string& nonce,
                                            crypto::Digest& pcr);

  const testing::TestCertificate certificate_;
  std::mutex mutex_;
  std::condition_variable changed_;
  absl::Status failure_;
  std::optional<Enrolled> enrolled_;
  int enrollment_count_ = 0;
  std::vector<SeenQuote> quotes_;
  bool refuse_ = false;
  absl::Duration interval_ = absl::Seconds(10);
  std::unique_ptr<FakeVerifier> server_;  // last: it calls the others
};

}  // namespace cupel::agent

#endif  // CUPEL_TESTS_AGENT_CHECKING_VERIFIER_H_
