#include "tests/agent/tpm/swtpm_rig.h"

#include <variant>

#include "absl/strings/str_split.h"
#include "common/tpm/attestation_key.h"
#include "common/tpm/quote.h"
#include "common/util/bytes.h"

namespace cupel::agent {
namespace {

std::vector<std::string> Handles(testing::SwTpm& tpm, const char* kind) {
  const std::string list = Get(tpm.RunWithoutFlush({"tpm2_getcap", kind}));
  std::vector<std::string> handles;
  for (const absl::string_view line : absl::StrSplit(list, '\n')) {
    const size_t at = line.find("0x");
    if (at != absl::string_view::npos) handles.emplace_back(line.substr(at));
  }
  return handles;
}

}  // namespace

std::unique_ptr<testing::SwTpm> StartTpm() {
  testing::SwTpm::SkipUnlessAvailable();
  SilenceTssLog();
  return Get(testing::SwTpm::Start());
}

std::unique_ptr<EsysTpm> Connect(const testing::SwTpm& tpm,
                                 absl::string_view password,
                                 const std::string& session_note_file) {
  return Get(EsysTpm::Open({.tcti = tpm.Tcti(),
                            .endorsement_password = Secret(AsBytes(password)),
                            .session_note_file = session_note_file}));
}

std::vector<std::string> TransientObjects(testing::SwTpm& tpm) {
  return Handles(tpm, "handles-transient");
}

std::vector<std::string> LoadedSessions(testing::SwTpm& tpm) {
  return Handles(tpm, "handles-loaded-session");
}

size_t CountLoaded(testing::SwTpm& tpm) {
  return TransientObjects(tpm).size() + LoadedSessions(tpm).size();
}

tpm::PcrSelection Selection(const std::string& text) {
  return Get(tpm::PcrSelection::FromString(text));
}

std::vector<uint8_t> Nonce(uint8_t fill) {
  return std::vector<uint8_t>(32, fill);
}

void CheckQuote(const Identity& identity, const Quote& quote,
                std::span<const uint8_t> nonce,
                const tpm::PcrSelection& selection) {
  const auto key = Get(tpm::AttestationKey::FromPublicArea(identity.ak));
  CHECK(key.violations().empty());
  const std::vector<uint8_t> ek_name = identity.ek.Name();
  const auto outcome = Get(tpm::VerifyQuote(key, quote.attest, quote.signature,
                                            {.qualifying_data = nonce,
                                             .selection = &selection,
                                             .values = &quote.values,
                                             .ek_name = ek_name}));
  REQUIRE(std::holds_alternative<tpm::VerifiedQuote>(outcome));
  CHECK(std::get<tpm::VerifiedQuote>(outcome).unchecked().empty());
}

}  // namespace cupel::agent
