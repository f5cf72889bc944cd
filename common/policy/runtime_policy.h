// The runtime policy: Cupel's reference values for what a machine may run.
// One policy is one named, immutable file's content; docs/formats/policy.md
// describes the file formats.
//
// Raw and escaped: what these structs hold is raw bytes. So are each `origin`,
// which holds a file's name, and a warning's `message`, which may quote a path
// or a pattern. Whoever shows them escapes them, once (common/util/escape.h).
// The message of an absl::Status is text: it was escaped where it was made.
#ifndef CUPEL_COMMON_POLICY_RUNTIME_POLICY_H_
#define CUPEL_COMMON_POLICY_RUNTIME_POLICY_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/crypto/digest.h"
#include "common/policy/digest_table.h"

namespace cupel::policy {

// An exclude pattern: a Python regular expression, matched as re.match does
// (anchored at the start only), over the path's bytes.
struct ExcludePattern {
  std::string text;
  // Where it stands, for messages: "excludes.txt:3", "policy.json:
  // excludes[2]".
  std::string origin;
};

// A digest that no machine may run, whatever else allows it.
struct DenyRule {
  crypto::Digest digest;
  // As listed, for messages only: the digest decides.
  std::string path;
  std::string reason;
  std::string origin;
};

// Something odd in a policy file that is no error: shown by `policy lint` and
// on load. `code` is stable, e.g. "exclude.prefix", "digest.sha1".
struct PolicyWarning {
  std::string code;
  std::string origin;
  std::string message;
  // How many it stands for: more than one where the others are left out.
  size_t count = 1;
};

// The parts of Keylime's runtime policy that concern signatures and keys are
// kept as they stand, for the part of Cupel that will use them.
struct RuntimePolicy {
  // PolicyContentId of the file that this is all of. Empty for a policy that
  // did not come from one file, or was changed since: what a machine's progress
  // was made with is then not known, and nothing resumes from it.
  std::string content_id;

  // meta.version, meta.generator, meta.timestamp where the file had them.
  std::optional<int64_t> meta_version;
  std::optional<int64_t> meta_generator;
  std::string meta_timestamp;
  int64_t release = 0;

  DigestTable digests;
  std::vector<ExcludePattern> excludes;
  std::vector<DenyRule> deny;

  // Keyring to digests of keys, as digest_text.h writes them.
  std::map<std::string, std::vector<std::string>, std::less<>> keyrings;
  // "ima-buf": name of a buffer to its digests.
  std::map<std::string, std::vector<crypto::Digest>, std::less<>> buffers;
  std::vector<std::string> ignored_keyrings;
  std::string log_hash_alg;       // "" where the file had none
  std::string dm_policy_json;     // "" where null or absent
  std::string verification_keys;  // Keylime's JSON string, "" for none

  std::vector<PolicyWarning> warnings;
};

}  // namespace cupel::policy

#endif  // CUPEL_COMMON_POLICY_RUNTIME_POLICY_H_
