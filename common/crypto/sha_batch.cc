// OpenSSL deprecates the low-level functions in favour of EVP, whose context
// and fetch cost more than hashing these short messages.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "common/crypto/sha_batch.h"

#include <openssl/sha.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace cupel::crypto {

void Sha256HashAndExtendPortable(std::span<const Sha256Extend> items,
                                 std::span<Sha256Value> after,
                                 std::span<Sha1Value> sha1) {
  for (size_t i = 0; i < items.size(); ++i) {
    const Sha256Extend& item = items[i];
    Sha256Value digest;
    const Sha256Value* value = item.fixed_value;
    SHA256_CTX context;
    if (value == nullptr) {
      SHA256_Init(&context);
      SHA256_Update(&context, item.message.data(), item.message.size());
      SHA256_Final(digest.data(), &context);
      value = &digest;
    }
    SHA256_Init(&context);
    SHA256_Update(&context, item.before->data(), item.before->size());
    SHA256_Update(&context, value->data(), value->size());
    SHA256_Final(after[i].data(), &context);
    if (!sha1.empty()) {
      SHA_CTX sha1_context;
      SHA1_Init(&sha1_context);
      SHA1_Update(&sha1_context, item.message.data(), item.message.size());
      SHA1_Final(sha1[i].data(), &sha1_context);
    }
  }
}

#if defined(__x86_64__)

namespace {

// FIPS 180-4, 4.2.2 and 5.3.3.
alignas(64) constexpr std::array<uint32_t, 64> kRoundConstants = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
    0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
    0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
    0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
    0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
    0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

constexpr size_t kBlockSize = 64;

constexpr uint32_t RotateRight(uint32_t x, int n) {
  return x >> n | x << (32 - n);
}

// Round constant plus message schedule of the second block of every 64-byte
// message: padding alone, so the same for each extend.
constexpr std::array<uint32_t, 66> MakePaddingSchedule() {
  std::array<uint32_t, 66> w{};
  w[0] = 0x80000000;
  w[15] = 512;
  for (size_t t = 16; t < 64; ++t) {
    const uint32_t s0 = RotateRight(w[t - 15], 7) ^ RotateRight(w[t - 15], 18) ^
                        (w[t - 15] >> 3);
    const uint32_t s1 = RotateRight(w[t - 2], 17) ^ RotateRight(w[t - 2], 19) ^
                        (w[t - 2] >> 10);
    w[t] = w[t - 16] + s0 + w[t - 7] + s1;
  }
  for (size_t t = 0; t < 64; ++t) w[t] += kRoundConstants[t];
  return w;
}
alignas(64) constexpr std::array<uint32_t, 66> kPaddingSchedule =
    MakePaddingSchedule();

#define CUPEL_SHA_TARGET __attribute__((target("sha,sse4.1,ssse3")))
#define CUPEL_SHA_INLINE CUPEL_SHA_TARGET __attribute__((always_inline)) inline

// The state in the order of the SHA-NI instructions.
struct State {
  __m128i abef;
  __m128i cdgh;
};

CUPEL_SHA_INLINE __m128i Load(const void* from) {
  return _mm_loadu_si128(static_cast<const __m128i*>(from));
}

CUPEL_SHA_INLINE State InitialState() {
  return {_mm_set_epi32(0x6a09e667, static_cast<int>(0xbb67ae85), 0x510e527f,
                        static_cast<int>(0x9b05688c)),
          _mm_set_epi32(0x3c6ef372, static_cast<int>(0xa54ff53a), 0x1f83d9ab,
                        0x5be0cd19)};
}

CUPEL_SHA_INLINE __m128i SwapWords(__m128i words) {
  return _mm_shuffle_epi8(
      words, _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203));
}

CUPEL_SHA_INLINE void Store(const State& state, Sha256Value& out) {
  const __m128i feba = _mm_shuffle_epi32(state.abef, 0x1b);
  const __m128i dchg = _mm_shuffle_epi32(state.cdgh, 0xb1);
  const __m128i dcba = _mm_blend_epi16(feba, dchg, 0xf0);
  const __m128i hgfe = _mm_alignr_epi8(dchg, feba, 8);
  _mm_storeu_si128(static_cast<__m128i*>(static_cast<void*>(out.data())),
                   SwapWords(dcba));
  _mm_storeu_si128(static_cast<__m128i*>(static_cast<void*>(out.data() + 16)),
                   SwapWords(hgfe));
}

// One block on its way through the 64 rounds, four at a time.
struct Rounds {
  State state;
  __m128i w[4];  // the schedule's next sixteen words
};

CUPEL_SHA_INLINE Rounds Begin(const State& state, const uint8_t* block) {
  return {state,
          {SwapWords(Load(block)), SwapWords(Load(block + 16)),
           SwapWords(Load(block + 32)), SwapWords(Load(block + 48))}};
}

CUPEL_SHA_INLINE void FourRounds(State& state, __m128i schedule_plus_k) {
  state.cdgh = _mm_sha256rnds2_epu32(state.cdgh, state.abef, schedule_plus_k);
  state.abef = _mm_sha256rnds2_epu32(state.abef, state.cdgh,
                                     _mm_shuffle_epi32(schedule_plus_k, 0x0e));
}

// Rounds 4*kGroup to 4*kGroup+3, and the schedule's words of sixteen later.
template <int kGroup>
CUPEL_SHA_INLINE void Group(Rounds& r) {
  constexpr int kA = kGroup % 4;
  constexpr int kB = (kGroup + 1) % 4;
  constexpr int kC = (kGroup + 2) % 4;
  constexpr int kD = (kGroup + 3) % 4;
  FourRounds(r.state,
             _mm_add_epi32(r.w[kA], Load(&kRoundConstants[4 * kGroup])));
  if constexpr (kGroup < 12) {
    const __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(r.w[kA], r.w[kB]),
                                      _mm_alignr_epi8(r.w[kD], r.w[kC], 4));
    r.w[kA] = _mm_sha256msg2_epu32(sum, r.w[kD]);
  }
}

template <int kGroup>
CUPEL_SHA_INLINE void PaddingGroup(State& state) {
  // Two rounds take the low half of their operand: load both halves to the low
  // end instead of shuffling.
  state.cdgh = _mm_sha256rnds2_epu32(state.cdgh, state.abef,
                                     Load(&kPaddingSchedule[4 * kGroup]));
  state.abef = _mm_sha256rnds2_epu32(state.abef, state.cdgh,
                                     Load(&kPaddingSchedule[4 * kGroup + 2]));
}

CUPEL_SHA_INLINE State Add(const State& a, const State& b) {
  return {_mm_add_epi32(a.abef, b.abef), _mm_add_epi32(a.cdgh, b.cdgh)};
}

#define CUPEL_EVERY_GROUP(X) \
  X(0)                       \
  X(1)                       \
  X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)

CUPEL_SHA_INLINE void Compress(State& state, const uint8_t* block) {
  Rounds r = Begin(state, block);
#define CUPEL_STEP(G) Group<G>(r);
  CUPEL_EVERY_GROUP(CUPEL_STEP)
#undef CUPEL_STEP
  state = Add(state, r.state);
}

CUPEL_SHA_INLINE void CompressPadding(State& state) {
  State next = state;
#define CUPEL_STEP(G) PaddingGroup<G>(next);
  CUPEL_EVERY_GROUP(CUPEL_STEP)
#undef CUPEL_STEP
  state = Add(state, next);
}

// Shuffle controls: from index n on, a control that shifts down by n bytes.
alignas(16) constexpr std::array<uint8_t, 32> kShiftDown = {
    0,    1,    2,    3,    4,    5,    6,    7,    8,    9,    10,
    11,   12,   13,   14,   15,   0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
    0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80};

// One message as 64-byte blocks, the padding of SHA-1 and SHA-256 included
// (FIPS 180-4, 5.1.1): whole blocks in place, the rest from a buffer.
class MessageBlocks {
 public:
  size_t left() const { return left_; }
  // Valid while left() is not 0.
  const uint8_t* block() const { return block_; }

  CUPEL_SHA_INLINE void Start(std::span<const uint8_t> message) {
    const size_t whole = message.size() / kBlockSize;
    const size_t rest = message.size() % kBlockSize;
    tail_blocks_ = rest + 9 <= kBlockSize ? 1 : 2;
    const size_t tail_size = tail_blocks_ * kBlockSize;
    for (size_t at = 0; at < tail_size; at += 16) {
      StoreAt(at, _mm_setzero_si128());
    }
    CopyTail(message, rest);
    tail_[rest] = 0x80;
    const uint64_t bits =
        __builtin_bswap64(static_cast<uint64_t>(message.size()) * 8);
    std::memcpy(&tail_[tail_size - sizeof(bits)], &bits, sizeof(bits));
    left_ = whole + tail_blocks_;
    block_ = whole != 0 ? message.data() : tail_.data();
  }

  CUPEL_SHA_INLINE void Advance() {
    --left_;
    block_ = left_ <= tail_blocks_
                 ? tail_.data() + (tail_blocks_ - left_) * kBlockSize
                 : block_ + kBlockSize;
  }

 private:
  CUPEL_SHA_INLINE void StoreAt(size_t at, __m128i value) {
    _mm_storeu_si128(static_cast<__m128i*>(static_cast<void*>(&tail_[at])),
                     value);
  }

  // Copies the last `rest` bytes (under 64) of `message` to the front of tail_,
  // sixteen at a time: a call of memcpy with a size unknown here would cost as
  // much as the block.
  CUPEL_SHA_INLINE void CopyTail(std::span<const uint8_t> message,
                                 size_t rest) {
    if (message.size() < 16) {
      for (size_t i = 0; i < rest; ++i) tail_[i] = message[i];
      return;
    }
    const uint8_t* const end = message.data() + message.size();
    const uint8_t* const from = end - rest;
    size_t at = 0;
    for (; at + 16 <= rest; at += 16) StoreAt(at, Load(from + at));
    if (at < rest) {
      // The message's last 16 bytes, shifted so that the `rest - at` that are
      // wanted come first and zeros follow.
      StoreAt(at, _mm_shuffle_epi8(Load(end - 16),
                                   Load(&kShiftDown[16 - (rest - at)])));
    }
  }

  size_t left_ = 0;
  size_t tail_blocks_ = 0;
  const uint8_t* block_ = nullptr;
  alignas(16) std::array<uint8_t, 2 * kBlockSize> tail_{};
};

// SHA-1's state in the order of the SHA-NI instructions.
struct Sha1State {
  __m128i abcd;
  __m128i e;  // in the highest word
};

CUPEL_SHA_INLINE Sha1State InitialSha1State() {
  return {_mm_set_epi32(0x67452301, static_cast<int>(0xefcdab89),
                        static_cast<int>(0x98badcfe), 0x10325476),
          _mm_set_epi32(static_cast<int>(0xc3d2e1f0), 0, 0, 0)};
}

CUPEL_SHA_INLINE __m128i ReverseBytes(__m128i bytes) {
  return _mm_shuffle_epi8(
      bytes, _mm_set_epi64x(0x0001020304050607, 0x08090a0b0c0d0e0f));
}

CUPEL_SHA_INLINE void StoreSha1(const Sha1State& state, Sha1Value& out) {
  _mm_storeu_si128(static_cast<__m128i*>(static_cast<void*>(out.data())),
                   ReverseBytes(state.abcd));
  const uint32_t e =
      __builtin_bswap32(static_cast<uint32_t>(_mm_extract_epi32(state.e, 3)));
  std::memcpy(out.data() + 16, &e, sizeof(e));
}

struct Sha1Rounds {
  __m128i abcd;
  __m128i previous_abcd;  // whose A, rotated, is the next E
  __m128i w[4];
};

CUPEL_SHA_INLINE Sha1Rounds BeginSha1(const Sha1State& state,
                                      const uint8_t* block) {
  return {state.abcd,
          state.e,
          {ReverseBytes(Load(block)), ReverseBytes(Load(block + 16)),
           ReverseBytes(Load(block + 32)), ReverseBytes(Load(block + 48))}};
}

// Rounds 4*kGroup to 4*kGroup+3, and the schedule's words of sixteen later.
template <int kGroup>
CUPEL_SHA_INLINE void Sha1Group(Sha1Rounds& r) {
  constexpr int kA = kGroup % 4;
  constexpr int kB = (kGroup + 1) % 4;
  constexpr int kC = (kGroup + 2) % 4;
  constexpr int kD = (kGroup + 3) % 4;
  // The first group adds the state's E as it is; SHA1NEXTE rotates it for the
  // others.
  const __m128i e_plus_w = kGroup == 0
                               ? _mm_add_epi32(r.previous_abcd, r.w[kA])
                               : _mm_sha1nexte_epu32(r.previous_abcd, r.w[kA]);
  r.previous_abcd = r.abcd;
  r.abcd = _mm_sha1rnds4_epu32(r.abcd, e_plus_w, kGroup / 5);
  if constexpr (kGroup < 16) {
    r.w[kA] = _mm_sha1msg2_epu32(
        _mm_xor_si128(_mm_sha1msg1_epu32(r.w[kA], r.w[kB]), r.w[kC]), r.w[kD]);
  }
}

// SHA-1 has twenty groups to SHA-256's sixteen: every fourth step does two.
template <int kStep>
CUPEL_SHA_INLINE void Sha1Step(Sha1Rounds& r) {
  Sha1Group<kStep + kStep / 4>(r);
  if constexpr (kStep % 4 == 3) Sha1Group<kStep + kStep / 4 + 1>(r);
}

CUPEL_SHA_INLINE void FinishSha1(Sha1State& state, const Sha1Rounds& r) {
  state.e = _mm_sha1nexte_epu32(r.previous_abcd, state.e);
  state.abcd = _mm_add_epi32(state.abcd, r.abcd);
}

CUPEL_SHA_INLINE void CompressSha1(Sha1State& state, const uint8_t* block) {
  Sha1Rounds r = BeginSha1(state, block);
#define CUPEL_STEP(G) Sha1Step<G>(r);
  CUPEL_EVERY_GROUP(CUPEL_STEP)
#undef CUPEL_STEP
  FinishSha1(state, r);
}

// One message's two digests in the making.
struct MessageState {
  State sha256;
  Sha1State sha1;
};

// A message's block by both hashes, or by SHA-256 alone.
template <bool kWithSha1>
CUPEL_SHA_INLINE void CompressMessage(MessageState& m, const uint8_t* block) {
  Compress(m.sha256, block);
  if constexpr (kWithSha1) CompressSha1(m.sha1, block);
}

// A block of the chain and one of a message side by side: the latency of one
// hides that of the others.
template <bool kWithSha1>
CUPEL_SHA_INLINE void CompressBoth(State& chain, const uint8_t* chain_block,
                                   MessageState& m, const uint8_t* block) {
  Rounds rc = Begin(chain, chain_block);
  Rounds rm = Begin(m.sha256, block);
  Sha1Rounds r1 = BeginSha1(m.sha1, block);
#define CUPEL_STEP(G) \
  Group<G>(rc);       \
  Group<G>(rm);       \
  if constexpr (kWithSha1) Sha1Step<G>(r1);
  CUPEL_EVERY_GROUP(CUPEL_STEP)
#undef CUPEL_STEP
  chain = Add(chain, rc.state);
  m.sha256 = Add(m.sha256, rm.state);
  if constexpr (kWithSha1) FinishSha1(m.sha1, r1);
}

template <bool kWithSha1>
CUPEL_SHA_INLINE void CompressPaddingAnd(State& chain, MessageState& m,
                                         const uint8_t* block) {
  State next = chain;
  Rounds rm = Begin(m.sha256, block);
  Sha1Rounds r1 = BeginSha1(m.sha1, block);
#define CUPEL_STEP(G)    \
  PaddingGroup<G>(next); \
  Group<G>(rm);          \
  if constexpr (kWithSha1) Sha1Step<G>(r1);
  CUPEL_EVERY_GROUP(CUPEL_STEP)
#undef CUPEL_STEP
  chain = Add(chain, next);
  m.sha256 = Add(m.sha256, rm.state);
  if constexpr (kWithSha1) FinishSha1(m.sha1, r1);
}

// The digests of the items' messages, a block at a time. Those finished stand
// in a ring that the chain follows.
class MessageLane {
 public:
  MessageLane(std::span<const Sha256Extend> items, std::span<Sha1Value> sha1)
      : items_(items), sha1_(sha1) {}

  // Items whose value is in the ring.
  size_t done() const { return next_item_; }
  const Sha256Value& value(size_t item) const {
    return ring_[item % kRingSize];
  }

  // Makes a block ready. False if there is none, or if its digest would push
  // one out of the ring that the chain, at `chain_item`, has not taken.
  template <bool kWithSha1>
  CUPEL_SHA_INLINE bool Prepare(size_t chain_item) {
    if (blocks_.left() != 0) return true;
    while (next_item_ < items_.size() && next_item_ < chain_item + kRingSize) {
      const Sha256Extend& item = items_[next_item_];
      if (kWithSha1 || item.fixed_value == nullptr) {
        blocks_.Start(item.message);
        state_ = {InitialState(), InitialSha1State()};
        return true;
      }
      ring_[next_item_ % kRingSize] = *item.fixed_value;
      ++next_item_;
    }
    return false;
  }

  const uint8_t* block() const { return blocks_.block(); }
  MessageState& state() { return state_; }

  // To be called when block() has been compressed into state().
  template <bool kWithSha1>
  CUPEL_SHA_INLINE void Advance() {
    blocks_.Advance();
    if (blocks_.left() != 0) return;
    Sha256Value& value = ring_[next_item_ % kRingSize];
    const Sha256Value* const fixed = items_[next_item_].fixed_value;
    if (kWithSha1 && fixed != nullptr) {
      value = *fixed;
    } else {
      Store(state_.sha256, value);
    }
    if constexpr (kWithSha1) StoreSha1(state_.sha1, sha1_[next_item_]);
    ++next_item_;
  }

 private:
  static constexpr size_t kRingSize = 64;

  std::span<const Sha256Extend> items_;
  std::span<Sha1Value> sha1_;
  size_t next_item_ = 0;
  MessageState state_{};
  MessageBlocks blocks_;
  alignas(16) std::array<Sha256Value, kRingSize> ring_{};
};

template <bool kWithSha1>
CUPEL_SHA_TARGET void HashAndExtend(std::span<const Sha256Extend> items,
                                    std::span<Sha256Value> after,
                                    std::span<Sha1Value> sha1) {
  MessageLane lane(items, sha1);
  for (size_t i = 0; i < items.size(); ++i) {
    while (lane.done() <= i && lane.Prepare<kWithSha1>(i)) {
      CompressMessage<kWithSha1>(lane.state(), lane.block());
      lane.Advance<kWithSha1>();
    }
    alignas(16) std::array<uint8_t, kBlockSize> block;
    std::memcpy(block.data(), items[i].before->data(), 32);
    std::memcpy(block.data() + 32, lane.value(i).data(), 32);
    State chain = InitialState();
    if (lane.Prepare<kWithSha1>(i + 1)) {
      CompressBoth<kWithSha1>(chain, block.data(), lane.state(), lane.block());
      lane.Advance<kWithSha1>();
    } else {
      Compress(chain, block.data());
    }
    if (lane.Prepare<kWithSha1>(i + 1)) {
      CompressPaddingAnd<kWithSha1>(chain, lane.state(), lane.block());
      lane.Advance<kWithSha1>();
    } else {
      CompressPadding(chain);
    }
    Store(chain, after[i]);
  }
}

}  // namespace

bool HasShaInstructions() {
  static const bool has = [] {
    unsigned a = 0;
    unsigned b = 0;
    unsigned c = 0;
    unsigned d = 0;
    if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & bit_SSE4_1) == 0 ||
        (c & bit_SSSE3) == 0) {
      return false;
    }
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & bit_SHA) != 0;
  }();
  return has;
}

CUPEL_SHA_TARGET void Sha256HashAndExtendAccelerated(
    std::span<const Sha256Extend> items, std::span<Sha256Value> after,
    std::span<Sha1Value> sha1) {
  if (sha1.empty()) {
    HashAndExtend<false>(items, after, sha1);
  } else {
    HashAndExtend<true>(items, after, sha1);
  }
}

#else  // !defined(__x86_64__)

bool HasShaInstructions() { return false; }

void Sha256HashAndExtendAccelerated(std::span<const Sha256Extend> items,
                                    std::span<Sha256Value> after,
                                    std::span<Sha1Value> sha1) {
  Sha256HashAndExtendPortable(items, after, sha1);
}

#endif

void Sha256HashAndExtend(std::span<const Sha256Extend> items,
                         std::span<Sha256Value> after,
                         std::span<Sha1Value> sha1) {
  if (HasShaInstructions()) {
    Sha256HashAndExtendAccelerated(items, after, sha1);
  } else {
    Sha256HashAndExtendPortable(items, after, sha1);
  }
}

}  // namespace cupel::crypto
