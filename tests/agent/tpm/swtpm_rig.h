// A software TPM without a resource manager, an agent's connection to it, and a
// look at what is in its slots.
#ifndef CUPEL_TESTS_AGENT_TPM_SWTPM_RIG_H_
#define CUPEL_TESTS_AGENT_TPM_SWTPM_RIG_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/tpm/esys_tpm.h"
#include "agent/tpm/identity.h"
#include "catch2/catch.hpp"
#include "common/tpm/pcr_selection.h"
#include "tests/support/status_matchers.h"
#include "tests/support/swtpm.h"

namespace cupel::agent {

template <typename T>
T Get(absl::StatusOr<T> result) {
  REQUIRE_THAT(testing::StatusOf(result), testing::IsOk());
  return *std::move(result);
}

// Skips the test where swtpm or tpm2-tools are not installed.
std::unique_ptr<testing::SwTpm> StartTpm();

std::unique_ptr<EsysTpm> Connect(const testing::SwTpm& tpm,
                                 absl::string_view password = "",
                                 const std::string& session_note_file = "");

// The handles of transient objects, and of loaded sessions: "0x80000000".
std::vector<std::string> TransientObjects(testing::SwTpm& tpm);
std::vector<std::string> LoadedSessions(testing::SwTpm& tpm);
// How many there are of both.
size_t CountLoaded(testing::SwTpm& tpm);

tpm::PcrSelection Selection(const std::string& text);
inline constexpr char kUsual[] = "sha256:0,1,2,3,4,5,6,7,8,9,10";

std::vector<uint8_t> Nonce(uint8_t fill = 7);

// Checks that the quote passes, values included.
void CheckQuote(const Identity& identity, const Quote& quote,
                std::span<const uint8_t> nonce,
                const tpm::PcrSelection& selection);

}  // namespace cupel::agent

#endif  // CUPEL_TESTS_AGENT_TPM_SWTPM_RIG_H_
