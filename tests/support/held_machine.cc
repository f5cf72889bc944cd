#include "tests/support/held_machine.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/util/bytes.h"

namespace cupel::testing {
namespace {

using ::cupel::crypto::Digest;
using ::cupel::crypto::HashAlgorithm;

// Indices of key pairs that no other fake uses.
constexpr int kFirstEkKey = 200;
constexpr int kFirstAkKey = 300;
constexpr int kMaxMachineCount = 50;

}  // namespace

FakeTpmMachine::FakeTpmMachine(const Vendor& vendor, int number,
                               std::vector<HashAlgorithm> banks)
    : number_(number),
      id_(TestAgent(number)),
      ek_(tpm::EkTemplate::kL2, FakeKeyKind::kEcP256, kFirstEkKey + number),
      certificates_(
          {ToVector(MakeCertificate(
                        ValidAround(vendor.time, EkSpec(FakeKeyKind::kEcP256,
                                                        kFirstEkKey + number)),
                        &vendor.intermediate)
                        .certificate.der()),
           ToVector(vendor.intermediate.certificate.der())}),
      machine(std::move(banks), NextAk()),
      enrollee_(MakeEnrollee()) {}

FakeAkOptions FakeTpmMachine::NextAk() {
  FakeAkOptions options;
  options.key_index = kFirstAkKey + number_ + kMaxMachineCount * ak_count_++;
  options.ek_name = ek_.area().Name();
  return options;
}

agent::Enrollee FakeTpmMachine::MakeEnrollee() const {
  return agent::Enrollee::Create({.agent_id = id_,
                                  .ek_template = ek_.id(),
                                  .ek_certificates = certificates_,
                                  .ek_public = ek_.area().Serialize(),
                                  .ak_public = machine.tpm.ak().Serialize(),
                                  .enrollment_token = "",
                                  .agent_version = "test"})
      .value();
}

void FakeTpmMachine::RenewAk() {
  const tpm::ClockInfo clock_info = machine.tpm.clock_info;
  machine.tpm = FakeTpm(NextAk());
  machine.tpm.clock_info = clock_info;
  enrollee_ = MakeEnrollee();
}

absl::StatusOr<Secret> FakeTpmMachine::Activate(
    std::span<const uint8_t> credential_blob,
    std::span<const uint8_t> encrypted_secret) {
  return ek_.Activate(credential_blob, encrypted_secret,
                      machine.tpm.ak().Name());
}

absl::StatusOr<agent::QuoteResult> FakeTpmMachine::Quote(
    std::span<const uint8_t> qualifying_data,
    const tpm::PcrSelection& selection) {
  // A clock that stands still would be no TPM's.
  ++machine.tpm.clock_info.clock;
  const FakeTpm now = machine.TpmNow(selection);
  tpm::Attest attest = now.MakeAttest(selection, qualifying_data);
  if (on_attest) on_attest(attest);
  FakeQuote quote = now.Quote(attest);
  return agent::QuoteResult{.attest = std::move(quote.attest),
                            .signature = std::move(quote.signature),
                            .pcrs = now.pcrs};
}

std::string FakeTpmMachine::Allowlist() {
  std::string lines;
  for (const auto& [path, digests] : machine.policy.digests) {
    for (const Digest& digest : digests) {
      absl::StrAppend(&lines, digest.Hex(), "  ", path, "\n");
    }
  }
  return lines;
}

}  // namespace cupel::testing
