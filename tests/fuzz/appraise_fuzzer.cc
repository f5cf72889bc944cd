#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/appraisal/appraise.h"
#include "common/crypto/digest.h"
#include "common/ima/list_parser.h"
#include "common/util/bytes.h"
#include "tests/support/evidence_builder.h"

namespace {

using cupel::testing::FakeMachine;
using cupel::testing::ValidEvidence;
using List = std::vector<std::string>;

void Require(bool condition) {
  if (!condition) std::abort();
}

// A policy with everything that an edited entry may meet: digests, excludes and
// a denied digest.
ValidEvidence MakeEvidence() {
  FakeMachine machine;
  machine.policy.excludes = {"/var/tmp/.*"};
  machine.policy.deny = {cupel::testing::FileDigestOf("denied")};
  for (const char* path : {"/usr/bin/a", "/usr/bin/b", "/usr/lib/c"}) {
    machine.Run(path);
  }
  machine.list.AddFile("/var/tmp/d", cupel::testing::FileDigestOf("d"));
  return machine.Attest();
}

// What a PCR covers of each entry.
List TemplateData(std::span<const uint8_t> bytes) {
  List data;
  cupel::ima::ListParser parser{cupel::ima::ListOptions{}};
  parser
      .Feed(bytes,
            [&](std::span<const cupel::ima::Entry> entries) {
              for (const auto& entry : entries) {
                data.emplace_back(cupel::AsText(entry.template_data));
              }
              return absl::OkStatus();
            })
      .IgnoreError();
  return data;
}

// One edit of a piece of evidence, five bytes of the input: which piece and
// what to do (replace a byte, insert one, remove some, cut off), where (u16,
// big-endian), the byte, and how many to remove.
void Edit(std::span<const uint8_t> edit, ValidEvidence& evidence) {
  std::vector<uint8_t>* const pieces[] = {
      &evidence.list, &evidence.quote->attest, &evidence.quote->signature,
      &evidence.nonce};
  std::vector<uint8_t>& piece = *pieces[edit[0] & 3];
  const size_t at = (size_t{edit[1]} << 8 | edit[2]) % (piece.size() + 1);
  const auto place = piece.begin() + static_cast<ptrdiff_t>(at);
  switch (edit[0] >> 2 & 3) {
    case 0:
      if (place != piece.end()) *place = edit[3];
      break;
    case 1:
      piece.insert(place, edit[3]);
      break;
    case 2:
      piece.erase(place, place + static_cast<ptrdiff_t>(std::min<size_t>(
                                     piece.size() - at, edit[4])));
      break;
    default:
      piece.resize(at);
      break;
  }
}

}  // namespace

// The input: edits of evidence that passes. Whatever they are, it passes with a
// quote's proof only if all that the quote covers is still there.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t kEditSize = 5;
  constexpr size_t kMaxEdits = 64;
  static const ValidEvidence valid = MakeEvidence();
  static const List valid_data = TemplateData(valid.list);
  ValidEvidence evidence = valid;
  std::span<const uint8_t> edits(data, size);
  for (size_t i = 0; i < kMaxEdits && edits.size() >= kEditSize; ++i) {
    Edit(edits.first(kEditSize), evidence);
    edits = edits.subspan(kEditSize);
  }
  const auto appraisal = evidence.TryAppraise();
  Require(appraisal.ok());
  const bool passes = appraisal->verdict == cupel::appraisal::Verdict::kPass;
  Require(passes || !appraisal->findings.empty());
  if (appraisal->proof == cupel::appraisal::Proof::kQuote) {
    Require(evidence.quote->attest == valid.quote->attest);
    Require(evidence.nonce == valid.nonce);
    List judged = TemplateData(evidence.list);
    Require(judged.size() >= valid_data.size());
    judged.resize(valid_data.size());
    Require(judged == valid_data);
  }
  Require(!passes || appraisal->proof == cupel::appraisal::Proof::kQuote);
  if (evidence.list == valid.list && evidence.nonce == valid.nonce &&
      evidence.quote->attest == valid.quote->attest &&
      evidence.quote->signature == valid.quote->signature) {
    Require(passes);
  }
  return 0;
}
