// One agent's side of an attestation stream (docs/protocol.md, 2 and 3), as a
// state machine without socket, thread or clock.
#ifndef CUPEL_AGENT_ATTESTER_ATTESTER_H_
#define CUPEL_AGENT_ATTESTER_ATTESTER_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent/attester/list_source.h"
#include "agent/attester/messages.h"
#include "agent/attester/quoter.h"
#include "common/crypto/digest.h"
#include "common/tpm/pcr_selection.h"
#include "common/util/agent_id.h"

namespace cupel::agent {

struct AttesterOptions {
  AgentId agent_id;
  std::string agent_version{};
  // What Hello says of the machine.
  std::vector<crypto::HashAlgorithm> banks{};
  std::vector<uint32_t> list_pcrs{};
  bool big_endian = false;

  // The list has settled once it has not grown for so long, or at the latest so
  // long after its first unseen entry.
  absl::Duration settle = absl::Milliseconds(100);
  absl::Duration settle_limit = absl::Seconds(1);
  // Between two quotes whatever a verifier asks for: it spares the chip.
  absl::Duration least_interval = absl::Milliseconds(50);
  // Of a ListChunk, in bytes; no more than kMaxChunkSize counts.
  size_t chunk_size = kMaxChunkSize;
  // How many messages may be on their way before another piece of the list is
  // read: what bounds the memory.
  size_t max_unwritten_count = 2;
  // A verifier that owes an answer for so long is given up.
  absl::Duration verifier_timeout = absl::Minutes(2);
  // After a quote has failed; doubled each time.
  absl::Duration least_quote_retry = absl::Milliseconds(200);
  absl::Duration most_quote_retry = absl::Seconds(5);
};

// A quote to be made, by a Quoter on another thread; the answer goes to
// OnQuoted.
struct QuoteJob {
  uint64_t id = 0;
  std::vector<uint8_t> qualifying_data;
  tpm::PcrSelection selection;
};

// The stream must end, for this reason. Its code: kPermissionDenied, the
// verifier is not who it says; kInvalidArgument, a message is malformed;
// kFailedPrecondition, one came out of turn; kDeadlineExceeded, none came;
// kUnavailable, it refused; others are those of the list's source.
struct CloseStream {
  absl::Status why;
  // What the verifier asked for; zero without that.
  absl::Duration retry_after;
  // It said so itself: it may not know this machine (any more).
  bool refused = false;
};

using Action = std::variant<AgentMessage, QuoteJob, CloseStream>;

// Says Hello, keeps the challenge that is armed, answers it at once when it
// says so, when the list has grown and settled, when the last verdict left
// entries pending, or shortly before its time is over; sends the quote first
// and the list after, piece by piece, and no byte of the list before the
// verifier has asked for it once on the stream.
//
// Usage: report what happens, then carry out what Next() returns until it
// returns nothing; call it again by WakeAt(). One stream at a time.
//
// Trust: the verifier has proved its certificate to TLS. A challenge for
// another certificate is never quoted: it was relayed [A1].
//
// Time is any clock that does not go back. Not thread-safe; blocks for no
// longer than the list's source does.
class Attester {
 public:
  // `list` must outlive this object.
  Attester(AttesterOptions options, ListSource& list);

  // A new stream is open. What concerned the last one is forgotten, but for a
  // quote that is still being made: the TPM is waited for.
  void OnConnected(absl::Time now);
  // SHA-256 of the DER of the certificate that TLS showed, and checked, on this
  // stream. Must come before the first challenge does.
  void OnCertificate(const crypto::Digest& sha256);
  void OnMessage(absl::Time now, VerifierMessage message);
  // One message has left.
  void OnWritten(absl::Time now);
  void OnDisconnected();

  // The answer to the QuoteJob `id`.
  void OnQuoted(absl::Time now, uint64_t id,
                absl::StatusOr<QuoteResult> result);

  // Looks whether the list has grown. A source that fails ends the stream.
  void Poll(absl::Time now);

  // The next thing to do; nullopt if there is nothing. After CloseStream there
  // is nothing until OnConnected.
  std::optional<Action> Next(absl::Time now);

  // When Next may have something without anything having happened before. May
  // be in the past; InfiniteFuture if never.
  absl::Time WakeAt() const;

  // The stream's newest verdict. nullptr if there was none: until then the
  // verifier may not have believed anything.
  const VerdictMessage* verdict() const {
    return verdict_ ? &*verdict_ : nullptr;
  }

 private:
  enum class Phase {
    kIdle,
    kQuoting,
    kAwaitingRequest,  // quote sent, the list was never asked for
    kSending,
    kAwaitingVerdict,
  };
  struct Armed {
    ChallengeMessage challenge;
    absl::Time due;  // the quote should begin by then
  };
  struct Running {
    uint64_t id = 0;
    ChallengeMessage challenge;
    uint64_t entry_count = 0;  // when it began
    absl::Time begun;
    bool of_this_stream = true;
    // Challenges that have come since, and when the last of them did.
    uint32_t replaced_count = 0;
    absl::Time replaced_at{};
  };

  void Handle(absl::Time now, ChallengeMessage challenge);
  void Handle(absl::Time now, const ListRequestMessage& request);
  void Handle(absl::Time now, VerdictMessage verdict);
  void Handle(absl::Time now, const RefusalMessage& refusal);

  absl::Status CheckCertificate(const ChallengeMessage& challenge) const;
  void Arm(absl::Time now, ChallengeMessage challenge);
  void StartQuote(absl::Time now);
  void SendChunk();
  void Close(absl::Status why);
  // When a quote is to begin; InfiniteFuture if nothing calls for one.
  absl::Time QuoteAt() const;
  // True while it is the verifier's turn.
  bool VerifierOwes() const;

  AttesterOptions options_;
  ListSource& list_;

  // --- Kept from stream to stream.
  uint64_t next_job_ = 1;
  std::optional<Running> running_;
  absl::Time last_quote_ = absl::InfinitePast();
  absl::Time retry_at_ = absl::InfinitePast();
  absl::Duration quote_retry_;
  absl::Duration quote_took_;
  uint64_t entry_count_ = 0;
  absl::Time grown_at_ = absl::InfinitePast();

  // The first nonces of the streams that there were, and of this one.
  std::deque<std::vector<uint8_t>> streams_;

  // --- Of the stream.
  bool connected_ = false;
  bool challenged_ = false;
  std::deque<Action> outbox_;
  std::optional<crypto::Digest> certificate_;
  std::optional<Armed> armed_;
  Phase phase_ = Phase::kIdle;
  bool quote_sent_ = false;
  bool list_requested_ = false;
  uint64_t position_ = 0;  // in the list, in bytes
  size_t unwritten_count_ = 0;
  bool pending_ = false;
  // Entries that the verifier has been shown, and since when there are others.
  uint64_t shown_count_ = 0;
  std::optional<absl::Time> unseen_since_;
  absl::Time progress_at_;
  std::optional<VerdictMessage> verdict_;
};

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_ATTESTER_ATTESTER_H_
