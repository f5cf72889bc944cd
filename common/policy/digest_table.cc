#include "common/policy/digest_table.h"

// In line: a call costs more than hashing a path.
#define XXH_INLINE_ALL
#include <sys/random.h>
#include <xxhash.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "common/util/bytes.h"
#include "common/util/status_macros.h"

namespace cupel::policy {
namespace {

// A record in the arena, in the machine's byte order:
//
//   u16 path size | u32 digest count | path | count times: u8 algorithm, digest
constexpr size_t kHeaderSize = 6;
constexpr uint32_t kNoRecord = std::numeric_limits<uint32_t>::max();
constexpr uint32_t kNoHash = std::numeric_limits<uint32_t>::max();
// Leaves room for one more path and digest: offsets never wrap.
constexpr size_t kMaxArenaSize = size_t{kNoRecord} - 2 * kMaxPathSize;
constexpr char kTooLarge[] = "more than 4 GiB of paths and digests";
// Half of the slots are filled: most searches end at the first.
constexpr uint64_t kSlots = 2;
constexpr uint64_t kPaths = 1;
// Up to here a digest is compared with all that its path has already; beyond,
// Build removes the repeated ones.
constexpr uint32_t kScannedDigests = 16;

template <typename T>
T Load(const uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

template <typename T>
void Store(uint8_t* to, T value) {
  std::memcpy(to, &value, sizeof(value));
}

size_t PathSize(const uint8_t* record) { return Load<uint16_t>(record); }
uint32_t DigestCount(const uint8_t* record) {
  return Load<uint32_t>(record + sizeof(uint16_t));
}
absl::string_view Path(const uint8_t* record) {
  return {reinterpret_cast<const char*>(record + kHeaderSize),
          PathSize(record)};
}
const uint8_t* Digests(const uint8_t* record) {
  return record + kHeaderSize + PathSize(record);
}

crypto::HashAlgorithm Algorithm(const uint8_t* digest) {
  return static_cast<crypto::HashAlgorithm>(*digest);
}
// Size of a stored digest, with its algorithm.
size_t StoredSize(const uint8_t* digest) {
  return 1 + crypto::DigestSize(Algorithm(digest));
}

uint64_t MakeSeed() {
  uint64_t seed = 0;
  // Without entropy the address keeps it from being a constant of the program.
  if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed)) {
    seed = reinterpret_cast<uintptr_t>(&seed);
  }
  return seed;
}

// Bytes that grow and shrink in place where the allocator can (mremap): a
// vector would copy 100 MB at the end.
class Buffer {
 public:
  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { std::free(data_); }

  uint8_t* data() { return data_; }
  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }

  // Returns the start of `size` new bytes.
  uint8_t* Grow(size_t size) {
    if (size > capacity_ - size_) {
      Resize(std::max({size_t{4096}, size_ + size, capacity_ + capacity_ / 2}));
    }
    uint8_t* const start = data_ + size_;
    size_ += size;
    return start;
  }
  void Swap(Buffer& other) {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }
  void ShrinkToFit() {
    if (size_ != 0 && size_ != capacity_) Resize(size_);
  }

 private:
  void Resize(size_t capacity) {
    void* const data = std::realloc(data_, capacity);
    if (data == nullptr) throw std::bad_alloc();
    data_ = static_cast<uint8_t*>(data);
    capacity_ = capacity;
  }

  uint8_t* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace

class DigestTable::SlotArray {
 public:
  SlotArray() : SlotArray(std::span<const Slot>()) {}

  // `records` in ascending order of hash, which is the order of home slots too:
  // one pass fills the array.
  explicit SlotArray(std::span<const Slot> records)
      : home_count_(static_cast<uint32_t>(std::clamp<uint64_t>(
            (records.size() * kSlots + kPaths - 1) / kPaths, 1, kNoRecord))) {
    slots_.reserve(size_t{home_count_} + 16);
    slots_.assign(size_t{home_count_} + 1, kEmpty);
    size_t next = 0;
    for (const Slot& record : records) {
      const size_t home = Home(record.hash, home_count_);
      next = std::max(next, home);
      // The last slot stays empty, to end every search.
      if (next + 1 >= slots_.size()) slots_.resize(next + 2, kEmpty);
      max_displacement_ = std::max(max_displacement_, next - home);
      slots_[next++] = record;
    }
  }

  static size_t Home(uint32_t hash, uint32_t home_count) {
    return static_cast<size_t>(uint64_t{hash} * home_count >> 32);
  }
  // The first slot that `hash` may be in; an empty or greater one ends.
  static const Slot* Start(const Slot* slots, uint32_t home_count,
                           uint32_t hash) {
    const Slot* slot = slots + Home(hash, home_count);
    while (slot->hash < hash) ++slot;
    return slot;
  }

  const Slot* data() const { return slots_.data(); }
  uint32_t home_count() const { return home_count_; }
  size_t memory_size() const { return slots_.capacity() * sizeof(Slot); }
  // What is smaller than a hash but stands behind its home is displaced at
  // least that far; then comes the record, or what ends the search.
  size_t max_probe_count() const { return max_displacement_ + 2; }

 private:
  static constexpr Slot kEmpty{kNoHash, kNoRecord};

  uint32_t home_count_;
  std::vector<Slot> slots_;
  size_t max_displacement_ = 0;
};

struct DigestTable::Storage {
  Buffer arena;
  SlotArray slots;
};

DigestTable::DigestTable() { *this = Builder().Build(); }

uint32_t DigestTable::HashPath(absl::string_view path) {
  static const uint64_t seed = MakeSeed();
  const uint64_t hash = XXH3_64bits_withSeed(path.data(), path.size(), seed);
  // The greatest value marks empty slots.
  return std::min(static_cast<uint32_t>(hash ^ hash >> 32), kNoHash - 1);
}

void DigestTable::Prefetch(uint32_t hash) const {
  __builtin_prefetch(slots_ + SlotArray::Home(hash, home_count_));
}

void DigestTable::PrefetchRecord(uint32_t hash) const {
  const Slot* const slot = SlotArray::Start(slots_, home_count_, hash);
  if (slot->hash != hash) return;
  __builtin_prefetch(arena_ + slot->record);
  __builtin_prefetch(arena_ + slot->record + 64);
}

const uint8_t* DigestTable::FindRecord(uint32_t hash,
                                       absl::string_view path) const {
  const Slot* slot = SlotArray::Start(slots_, home_count_, hash);
  for (; slot->hash == hash; ++slot) {
    const uint8_t* const record = arena_ + slot->record;
    if (Path(record) == path) return record;
  }
  return nullptr;
}

DigestMatch DigestTable::Match(uint32_t hash, absl::string_view path,
                               crypto::HashAlgorithm algorithm,
                               std::span<const uint8_t> digest) const {
  const uint8_t* const record = FindRecord(hash, path);
  if (record == nullptr) return DigestMatch::kUnlisted;
  if (digest.size() != crypto::DigestSize(algorithm)) {
    return DigestMatch::kMismatch;
  }
  const uint8_t* stored = Digests(record);
  for (uint32_t left = DigestCount(record); left > 0; --left) {
    if (Algorithm(stored) == algorithm &&
        std::memcmp(stored + 1, digest.data(), digest.size()) == 0) {
      return DigestMatch::kListed;
    }
    stored += StoredSize(stored);
  }
  return DigestMatch::kMismatch;
}

namespace {

void AppendDigests(const uint8_t* record, std::vector<crypto::Digest>& out) {
  const uint8_t* stored = Digests(record);
  for (uint32_t left = DigestCount(record); left > 0; --left) {
    crypto::Digest digest(Algorithm(stored));
    std::memcpy(digest.mutable_bytes().data(), stored + 1, digest.size());
    out.push_back(digest);
    stored += StoredSize(stored);
  }
}

const uint8_t* NextRecord(const uint8_t* record) {
  const uint8_t* next = Digests(record);
  for (uint32_t left = DigestCount(record); left > 0; --left) {
    next += StoredSize(next);
  }
  return next;
}

}  // namespace

std::vector<crypto::Digest> DigestTable::Find(absl::string_view path) const {
  std::vector<crypto::Digest> digests;
  if (const uint8_t* const record = FindRecord(HashPath(path), path)) {
    AppendDigests(record, digests);
  }
  return digests;
}

bool DigestTable::Contains(absl::string_view path) const {
  return FindRecord(HashPath(path), path) != nullptr;
}

void DigestTable::ForEach(
    absl::FunctionRef<void(absl::string_view, std::span<const crypto::Digest>)>
        visit) const {
  std::vector<crypto::Digest> digests;
  const uint8_t* const end = arena_ + arena_size_;
  for (const uint8_t* record = arena_; record != end;
       record = NextRecord(record)) {
    digests.clear();
    AppendDigests(record, digests);
    visit(Path(record), digests);
  }
}

size_t DigestTable::memory_size() const {
  return sizeof(Storage) + storage_->arena.capacity() +
         storage_->slots.memory_size();
}

struct DigestTable::Builder::State {
  Buffer arena;
  std::vector<Slot> records;  // one for each AddPath, sorted by SortRecords
  bool is_sorted = false;
  size_t digest_count = 0;
  size_t last = 0;  // offset of the last record
  bool has_long_record = false;

  void SortRecords();
  // Calls `visit(first, again)` for each record whose path `first` has too, in
  // unspecified order.
  void ForEachRepeated(
      absl::FunctionRef<void(uint32_t first, uint32_t again)> visit);
  bool IsListed(crypto::HashAlgorithm algorithm,
                std::span<const uint8_t> digest) const;
  void Compact(
      const absl::flat_hash_map<uint32_t, std::vector<uint32_t>>& again);
};

DigestTable::Builder::Builder() : state_(std::make_unique<State>()) {}
DigestTable::Builder::Builder(Builder&&) noexcept = default;
DigestTable::Builder& DigestTable::Builder::operator=(Builder&&) noexcept =
    default;
DigestTable::Builder::~Builder() = default;

absl::Status DigestTable::Builder::AddPath(absl::string_view path) {
  State& state = *state_;
  if (path.empty()) return absl::InvalidArgumentError("empty path");
  if (path.size() > kMaxPathSize) {
    return absl::InvalidArgumentError(
        absl::StrCat("path of ", path.size(), " bytes, limit ", kMaxPathSize));
  }
  if (std::memchr(path.data(), 0, path.size()) != nullptr) {
    return absl::InvalidArgumentError("NUL in a path");
  }
  if (state.arena.size() >= kMaxArenaSize) {
    return absl::ResourceExhaustedError(kTooLarge);
  }
  state.last = state.arena.size();
  uint8_t* const record = state.arena.Grow(kHeaderSize + path.size());
  Store(record, static_cast<uint16_t>(path.size()));
  Store(record + sizeof(uint16_t), uint32_t{0});
  std::memcpy(record + kHeaderSize, path.data(), path.size());
  // Indexed later, all at once: a look-up in a large table for each path would
  // take longer than everything else together.
  state.records.push_back({HashPath(path), static_cast<uint32_t>(state.last)});
  state.is_sorted = false;
  return absl::OkStatus();
}

bool DigestTable::Builder::State::IsListed(
    crypto::HashAlgorithm algorithm, std::span<const uint8_t> digest) const {
  const uint8_t* const record = arena.data() + last;
  const uint8_t* stored = Digests(record);
  for (uint32_t left = DigestCount(record); left > 0; --left) {
    if (Algorithm(stored) == algorithm &&
        std::memcmp(stored + 1, digest.data(), digest.size()) == 0) {
      return true;
    }
    stored += StoredSize(stored);
  }
  return false;
}

absl::Status DigestTable::Builder::AddDigest(crypto::HashAlgorithm algorithm,
                                             std::span<const uint8_t> digest) {
  State& state = *state_;
  if (state.records.empty()) {
    return absl::FailedPreconditionError("a digest before any path");
  }
  if (digest.size() != crypto::DigestSize(algorithm)) {
    return absl::InvalidArgumentError(
        absl::StrCat(crypto::HashAlgorithmName(algorithm), " digest of ",
                     digest.size(), " bytes"));
  }
  if (state.arena.size() >= kMaxArenaSize) {
    return absl::ResourceExhaustedError(kTooLarge);
  }
  const uint32_t count = DigestCount(state.arena.data() + state.last);
  if (count >= kScannedDigests) {
    state.has_long_record = true;
  } else if (state.IsListed(algorithm, digest)) {
    return absl::OkStatus();
  }
  uint8_t* const stored = state.arena.Grow(1 + digest.size());
  *stored = static_cast<uint8_t>(algorithm);
  std::ranges::copy(digest, stored + 1);
  Store(state.arena.data() + state.last + sizeof(uint16_t), count + 1);
  ++state.digest_count;
  return absl::OkStatus();
}

absl::Status DigestTable::Builder::Add(absl::string_view path,
                                       const crypto::Digest& digest) {
  const State& state = *state_;
  if (state.records.empty() || Path(state.arena.data() + state.last) != path) {
    CUPEL_RETURN_IF_ERROR(AddPath(path));
  }
  return AddDigest(digest.algorithm(), digest.bytes());
}

// By hash, and where that is equal as they were added: a radix sort of 11, 11
// and 10 bits.
void DigestTable::Builder::State::SortRecords() {
  if (is_sorted) return;
  std::vector<Slot> sorted(records.size());
  for (const auto& [shift, bits] : {std::pair(0, 11), {11, 11}, {22, 10}}) {
    const uint32_t mask = (1u << bits) - 1;
    std::vector<size_t> next(size_t{mask} + 2, 0);
    for (const Slot& record : records)
      ++next[(record.hash >> shift & mask) + 1];
    for (size_t i = 1; i < next.size(); ++i) next[i] += next[i - 1];
    for (const Slot& record : records) {
      sorted[next[record.hash >> shift & mask]++] = record;
    }
    records.swap(sorted);
  }
  is_sorted = true;
}

void DigestTable::Builder::State::ForEachRepeated(
    absl::FunctionRef<void(uint32_t, uint32_t)> visit) {
  SortRecords();
  const auto path = [&](const Slot& record) {
    return Path(arena.data() + record.record);
  };
  absl::flat_hash_map<absl::string_view, uint32_t> first_of;
  for (size_t begin = 0; begin < records.size();) {
    size_t end = begin + 1;
    while (end < records.size() && records[end].hash == records[begin].hash) {
      ++end;
    }
    if (end - begin > 1) {
      first_of.clear();
      for (size_t i = begin; i < end; ++i) {
        const auto inserted =
            first_of.try_emplace(path(records[i]), records[i].record);
        if (!inserted.second) {
          visit(inserted.first->second, records[i].record);
        }
      }
    }
    begin = end;
  }
}

std::optional<std::string> DigestTable::Builder::FindRepeatedPath() {
  State& state = *state_;
  uint32_t earliest = kNoRecord;
  state.ForEachRepeated(
      [&](uint32_t, uint32_t again) { earliest = std::min(earliest, again); });
  if (earliest == kNoRecord) return std::nullopt;
  return std::string(Path(state.arena.data() + earliest));
}

// Writes every record anew, with the digests of those that repeat its path,
// each digest once.
void DigestTable::Builder::State::Compact(
    const absl::flat_hash_map<uint32_t, std::vector<uint32_t>>& again) {
  absl::flat_hash_set<uint32_t> dropped;
  for (const auto& [first, others] : again) {
    dropped.insert(others.begin(), others.end());
  }
  State compact;
  compact.records.reserve(records.size() - dropped.size());
  absl::flat_hash_set<absl::string_view> seen;
  const uint8_t* const end = arena.data() + arena.size();
  for (const uint8_t* from = arena.data(); from != end;
       from = NextRecord(from)) {
    const auto offset = static_cast<uint32_t>(from - arena.data());
    if (dropped.contains(offset)) continue;
    const absl::string_view path = Path(from);
    compact.last = compact.arena.size();
    std::memcpy(compact.arena.Grow(kHeaderSize + path.size()), from,
                kHeaderSize + path.size());
    compact.records.push_back(
        {HashPath(path), static_cast<uint32_t>(compact.last)});
    seen.clear();
    uint32_t count = 0;
    const auto copy_digests = [&](const uint8_t* record) {
      const uint8_t* stored = Digests(record);
      for (uint32_t left = DigestCount(record); left > 0; --left) {
        const size_t size = StoredSize(stored);
        if (seen.insert(AsText(std::span(stored, size))).second) {
          std::memcpy(compact.arena.Grow(size), stored, size);
          ++count;
        }
        stored += size;
      }
    };
    copy_digests(from);
    if (const auto found = again.find(offset); found != again.end()) {
      for (const uint32_t other : found->second) {
        copy_digests(arena.data() + other);
      }
    }
    Store(compact.arena.data() + compact.last + sizeof(uint16_t), count);
    compact.digest_count += count;
  }
  arena.Swap(compact.arena);
  records.swap(compact.records);
  digest_count = compact.digest_count;
  is_sorted = false;
  SortRecords();
}

DigestTable DigestTable::Builder::Build() && {
  State& state = *state_;
  absl::flat_hash_map<uint32_t, std::vector<uint32_t>> again;
  state.ForEachRepeated([&](uint32_t first, uint32_t repeated) {
    again[first].push_back(repeated);
  });
  if (!again.empty() || state.has_long_record) state.Compact(again);

  auto storage = std::make_shared<Storage>();
  storage->arena.Swap(state.arena);
  storage->arena.ShrinkToFit();
  storage->slots = SlotArray(state.records);

  DigestTable table{NoInit{}};
  table.slots_ = storage->slots.data();
  table.home_count_ = storage->slots.home_count();
  table.arena_ = storage->arena.data();
  table.arena_size_ = storage->arena.size();
  table.path_count_ = state.records.size();
  table.digest_count_ = state.digest_count;
  // Beside its header and an algorithm a digest, the arena is payload.
  table.payload_size_ =
      table.arena_size_ - kHeaderSize * table.path_count_ - table.digest_count_;
  table.max_probe_count_ = storage->slots.max_probe_count();
  table.storage_ = std::move(storage);
  state_ = std::make_unique<State>();
  return table;
}

}  // namespace cupel::policy
