// The values of a record that are stored as one column, in bytes.
//
// Format: a letter for what it is, a version, then the members in order; what a
// later version has added stands at the end, and is at its default in values of
// an earlier one.
// Integers are big-endian; texts, bytes and lists have a u32 size or count in
// front; a flag is one byte, 0 or 1, and precedes whatever is optional.
// Algorithms stand by the kernel's names, so that no enumerator's number gets
// into a database.
//
// Each Decode takes exactly what its Encode makes, or has made in earlier
// versions of this program. kDataLoss for anything else: a newer version, a
// size that doesn't fit, a byte left over. What a store has lost is never made
// up for by a default.
#ifndef CUPEL_VERIFIER_STORE_CODEC_H_
#define CUPEL_VERIFIER_STORE_CODEC_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/appraisal/appraise.h"
#include "common/appraisal/finding.h"
#include "verifier/store/store.h"

namespace cupel::verifier {

std::vector<uint8_t> EncodeProgress(const appraisal::Progress& progress);
absl::StatusOr<appraisal::Progress> DecodeProgress(
    std::span<const uint8_t> bytes);

std::vector<uint8_t> EncodeClockInfo(const tpm::ClockInfo& info);
absl::StatusOr<tpm::ClockInfo> DecodeClockInfo(std::span<const uint8_t> bytes);

std::vector<uint8_t> EncodeCounts(const appraisal::EntryCounts& counts);
absl::StatusOr<appraisal::EntryCounts> DecodeCounts(
    std::span<const uint8_t> bytes);

// The ids that are decoded live as long as the process.
std::vector<uint8_t> EncodeFindings(
    std::span<const appraisal::Finding> findings);
absl::StatusOr<std::vector<appraisal::Finding>> DecodeFindings(
    std::span<const uint8_t> bytes);

std::vector<uint8_t> EncodeAccepted(std::span<const AcceptedFinding> accepted);
absl::StatusOr<std::vector<AcceptedFinding>> DecodeAccepted(
    std::span<const uint8_t> bytes);

std::vector<uint8_t> EncodeSettings(const AgentSettings& settings);
absl::StatusOr<AgentSettings> DecodeSettings(std::span<const uint8_t> bytes);

std::vector<uint8_t> EncodeJudgedPolicies(
    std::span<const JudgedPolicy> policies);
absl::StatusOr<std::vector<JudgedPolicy>> DecodeJudgedPolicies(
    std::span<const uint8_t> bytes);

std::vector<uint8_t> EncodeEnrollment(const Enrollment& enrollment);
absl::StatusOr<Enrollment> DecodeEnrollment(std::span<const uint8_t> bytes);

// Nanoseconds since 1970; the infinite times at the ends of the range.
int64_t TimeToSql(absl::Time time);
absl::Time TimeFromSql(int64_t value);

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_STORE_CODEC_H_
