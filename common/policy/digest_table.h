// The digests of a policy by path: immutable, compact, built for 10^6 of them.
#ifndef CUPEL_COMMON_POLICY_DIGEST_TABLE_H_
#define CUPEL_COMMON_POLICY_DIGEST_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/crypto/digest.h"

namespace cupel::policy {

// What a table says about a path and a digest.
enum class DigestMatch : uint8_t {
  kListed,    // the path is listed with this digest, algorithm included
  kMismatch,  // the path is listed, with other digests only
  kUnlisted,  // the path is not listed
};

// Twice PATH_MAX: names that the kernel writes are shorter.
inline constexpr size_t kMaxPathSize = 8192;

// Paths are bytes without a NUL. Every path and digest is stored once; a lookup
// touches one run of slots and one record. At most 40 bytes a digest are used
// beyond the bytes of path and digest (with one digest a path about 23).
// The hash is keyed by a secret of this process, and a lookup's probe is
// bounded by the longest one that building met: names from a hostile list can't
// make it slow. Immutable, cheap to copy (shared); may be read by any number of
// threads.
class DigestTable {
 public:
  class Builder;

  // Lists nothing.
  DigestTable();

  DigestMatch Match(absl::string_view path, crypto::HashAlgorithm algorithm,
                    std::span<const uint8_t> digest) const {
    return Match(HashPath(path), path, algorithm, digest);
  }
  // Starts to load what Match(path) will read. For batches: a hint only.
  void Prefetch(absl::string_view path) const { Prefetch(HashPath(path)); }

  // The same for callers that ask several tables, or the same one twice:
  // `hash` is HashPath(path), which has one value for all tables of a process.
  static uint32_t HashPath(absl::string_view path);
  DigestMatch Match(uint32_t hash, absl::string_view path,
                    crypto::HashAlgorithm algorithm,
                    std::span<const uint8_t> digest) const;
  void Prefetch(uint32_t hash) const;
  // A second stage, once the slots that Prefetch asked for have arrived.
  void PrefetchRecord(uint32_t hash) const;

  // The digests of `path`, in the order in which they were added; empty if it
  // is not listed.
  std::vector<crypto::Digest> Find(absl::string_view path) const;
  bool Contains(absl::string_view path) const;

  // Every path with its digests, in the order in which paths were first added.
  void ForEach(absl::FunctionRef<void(absl::string_view path,
                                      std::span<const crypto::Digest> digests)>
                   visit) const;

  size_t path_count() const { return path_count_; }
  size_t digest_count() const { return digest_count_; }
  // Heap bytes held, and how many of them are bytes of paths and digests.
  size_t memory_size() const;
  size_t payload_size() const { return payload_size_; }
  // The most slots that any lookup reads.
  size_t max_probe_count() const { return max_probe_count_; }

 private:
  struct Storage;
  struct Slot {
    uint32_t hash;
    uint32_t record;  // offset in the arena; kNoRecord if the slot is empty
  };
  // Slots in ascending order of hash, at most displaced to the right: a search
  // ends at the first greater hash. Empty slots compare greatest.
  class SlotArray;
  struct NoInit {};

  explicit DigestTable(NoInit) {}
  const uint8_t* FindRecord(uint32_t hash, absl::string_view path) const;

  std::shared_ptr<const Storage> storage_;
  // Copies of what a lookup needs, to spare it an indirection.
  const Slot* slots_ = nullptr;
  const uint8_t* arena_ = nullptr;
  uint32_t home_count_ = 0;
  size_t arena_size_ = 0;
  size_t path_count_ = 0;
  size_t digest_count_ = 0;
  size_t payload_size_ = 0;
  size_t max_probe_count_ = 0;
};

// Collects paths and digests in any order. Not thread-safe.
class DigestTable::Builder {
 public:
  Builder();
  Builder(Builder&&) noexcept;
  Builder& operator=(Builder&&) noexcept;
  ~Builder();

  // Lists `path`, at first without a digest: nothing matches it. A path that
  // is added again keeps its place, and the digests of both times count.
  //
  // kInvalidArgument if it is empty, has a NUL, or is longer than kMaxPathSize;
  // kResourceExhausted if the table would pass 4 GiB.
  absl::Status AddPath(absl::string_view path);

  // Adds `digest` to the path of the last AddPath, which must have succeeded; a
  // digest that it has already counts once. kInvalidArgument unless `digest`
  // has the algorithm's size; kResourceExhausted as above.
  absl::Status AddDigest(crypto::HashAlgorithm algorithm,
                         std::span<const uint8_t> digest);

  // AddPath and AddDigest in one.
  absl::Status Add(absl::string_view path, const crypto::Digest& digest);

  // The first path that AddPath was given a second time, for formats where that
  // is an error. Sorts everything: to be called once, before Build.
  std::optional<std::string> FindRepeatedPath();

  DigestTable Build() &&;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cupel::policy

#endif  // CUPEL_COMMON_POLICY_DIGEST_TABLE_H_
