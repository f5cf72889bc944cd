#include "agent/attester/attester.h"

#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "catch2/catch.hpp"
#include "common/tpm/attest.h"
#include "common/tpm/binding.h"
#include "common/util/bytes.h"
#include "tests/support/fake_machine.h"
#include "tests/support/status_matchers.h"

namespace cupel::agent {
namespace {

using crypto::Digest;
using crypto::HashAlgorithm;
using testing::FakeQuoter;
using testing::IsOk;
using testing::MemoryList;
using testing::StatusIs;

constexpr char kId[] = "d432fbb3-d2f1-4a97-9ef7-75bd81c00000";

// A machine with an attester on it, and a verifier's side of its stream.
class Machine {
 public:
  explicit Machine(AttesterOptions options = DefaultOptions())
      : attester((list.Add(3, 10), std::move(options)), list) {}

  static AttesterOptions DefaultOptions() {
    return {.agent_id = *AgentId::Parse(kId),
            .agent_version = "0.1",
            .banks = {HashAlgorithm::kSha256},
            .list_pcrs = {10}};
  }

  ChallengeMessage MakeChallenge(uint8_t nonce, bool at_once = false) const {
    return {.nonce = std::vector<uint8_t>(tpm::kNonceSize, nonce),
            .certificate_sha256 = ToVector(certificate.bytes()),
            .selection = *tpm::PcrSelection::FromString("sha256:0,1,10"),
            .answer_within = absl::Seconds(10),
            .now = at_once};
  }

  void Connect() {
    attester.OnConnected(now);
    attester.OnCertificate(certificate);
    Expect<HelloMessage>();
  }
  void Receive(VerifierMessage message) {
    attester.OnMessage(now, std::move(message));
  }
  void Advance(absl::Duration duration) {
    now += duration;
    attester.Poll(now);
  }
  bool Nothing() { return !attester.Next(now).has_value(); }

  template <typename T>
  T Expect() {
    std::optional<Action> action = attester.Next(now);
    REQUIRE(action.has_value());
    if (const auto* close = std::get_if<CloseStream>(&*action)) {
      FAIL("closed: " << close->why);
    }
    REQUIRE(std::holds_alternative<AgentMessage>(*action));
    auto& message = std::get<AgentMessage>(*action);
    REQUIRE(std::holds_alternative<T>(message));
    attester.OnWritten(now);
    return std::get<T>(std::move(message));
  }
  QuoteJob ExpectJob() {
    std::optional<Action> action = attester.Next(now);
    REQUIRE(action.has_value());
    REQUIRE(std::holds_alternative<QuoteJob>(*action));
    return std::get<QuoteJob>(*std::move(action));
  }
  CloseStream ExpectClose() {
    std::optional<Action> action = attester.Next(now);
    REQUIRE(action.has_value());
    REQUIRE(std::holds_alternative<CloseStream>(*action));
    CHECK(Nothing());
    return std::get<CloseStream>(*std::move(action));
  }
  void Finish(const QuoteJob& job) {
    attester.OnQuoted(now, job.id,
                      quoter.Quote(job.qualifying_data, job.selection));
  }
  QuoteMessage ExpectQuote() {
    Finish(ExpectJob());
    return Expect<QuoteMessage>();
  }
  // The rest of the list, piece by piece.
  std::vector<uint8_t> ExpectList() {
    std::vector<uint8_t> bytes;
    for (;;) {
      const ChunkMessage chunk = Expect<ChunkMessage>();
      Append(bytes, chunk.data);
      if (chunk.last) return bytes;
    }
  }
  // Brings the stream to where its first verdict is there and a challenge of 10
  // seconds is armed.
  void Prove() {
    Connect();
    Receive(MakeChallenge(1, /*at_once=*/true));
    ExpectQuote();
    Receive(ListRequestMessage{});
    ExpectList();
    Judge();
    Receive(MakeChallenge(2));
    now += absl::Seconds(1);
    REQUIRE(Nothing());
  }
  void Judge(uint64_t pending_count = 0) {
    Receive(VerdictMessage{.state = "TRUSTED",
                           .next_byte_offset = list.bytes().size(),
                           .pending_count = pending_count});
  }

  absl::Time now = absl::FromUnixSeconds(1000);
  Digest certificate = Digest::Filled(HashAlgorithm::kSha256, 0xce);
  MemoryList list;
  FakeQuoter quoter;
  Attester attester;
};

// --- Hello and the challenge.

TEST_CASE("Attester: says Hello first, and nothing else unasked") {
  Machine machine;
  CHECK(machine.Nothing());
  machine.attester.OnConnected(machine.now);
  const auto hello = machine.Expect<HelloMessage>();
  CHECK(hello.agent_id.ToString() == kId);
  CHECK(hello.protocol_version == 1);
  CHECK(hello.entry_count == 3);
  CHECK(hello.banks == std::vector{HashAlgorithm::kSha256});
  CHECK(hello.list_pcrs == std::vector<uint32_t>{10});
  machine.Advance(absl::Seconds(30));
  CHECK(machine.Nothing());
}

TEST_CASE("Attester: says which streams it had before [A33]") {
  Machine machine;
  for (uint8_t i = 0; i < 12; ++i) {
    machine.attester.OnConnected(machine.now);
    machine.attester.OnCertificate(machine.certificate);
    const HelloMessage hello = machine.Expect<HelloMessage>();
    CAPTURE(i);
    REQUIRE(hello.previous_streams.size() == std::min<size_t>(i, 8));
    if (i > 0) {
      CHECK(hello.previous_streams.back() == machine.MakeChallenge(i).nonce);
    }
    machine.Receive(machine.MakeChallenge(i + 1));
    // A stream is known by its first challenge.
    machine.Receive(machine.MakeChallenge(100 + i));
  }
}

TEST_CASE("Attester: a quote answers its challenge and no other") {
  Machine machine;
  machine.Connect();
  const ChallengeMessage challenge = machine.MakeChallenge(7, true);
  machine.Receive(challenge);
  const QuoteMessage quote = machine.ExpectQuote();

  CHECK(quote.nonce == challenge.nonce);
  const auto attest = tpm::ParseAttest(quote.attest);
  REQUIRE(attest.ok());
  const auto expected = tpm::QuoteQualifyingData(
      challenge.nonce, *AgentId::Parse(kId), machine.certificate);
  REQUIRE(expected.ok());
  CHECK(attest->extra_data == ToVector(expected->bytes()));
  CHECK(quote.pcrs.Selection() == challenge.selection);
  CHECK(machine.Nothing());
}

TEST_CASE("Attester: nothing is quoted for another certificate [A1]") {
  Machine machine;
  machine.Connect();
  ChallengeMessage challenge = machine.MakeChallenge(1, true);
  SECTION("one bit differs") { challenge.certificate_sha256[31] ^= 1; }
  SECTION("it is shorter") { challenge.certificate_sha256.pop_back(); }
  SECTION("it is longer") { challenge.certificate_sha256.push_back(0); }
  SECTION("there is none") { challenge.certificate_sha256.clear(); }
  machine.Receive(challenge);
  const CloseStream close = machine.ExpectClose();
  CHECK_THAT(close.why, StatusIs(absl::StatusCode::kPermissionDenied,
                                 "nothing was quoted"));
  CHECK(machine.quoter.quote_count() == 0);
}

TEST_CASE("Attester: nothing is quoted where TLS showed no certificate") {
  Machine machine;
  machine.attester.OnConnected(machine.now);
  machine.Expect<HelloMessage>();
  machine.Receive(machine.MakeChallenge(1, true));
  CHECK_THAT(machine.ExpectClose().why,
             StatusIs(absl::StatusCode::kPermissionDenied, "no certificate"));
}

TEST_CASE("Attester: the last stream's certificate is not this one's") {
  Machine machine;
  machine.Connect();
  machine.attester.OnConnected(machine.now);
  machine.Expect<HelloMessage>();
  machine.Receive(machine.MakeChallenge(1, true));
  CHECK_THAT(machine.ExpectClose().why,
             StatusIs(absl::StatusCode::kPermissionDenied));
}

TEST_CASE("Attester: a later challenge is checked as the first one is [A1]") {
  Machine machine;
  machine.Prove();
  ChallengeMessage challenge = machine.MakeChallenge(3, true);
  challenge.certificate_sha256[0] ^= 1;
  machine.Receive(challenge);
  CHECK_THAT(machine.ExpectClose().why,
             StatusIs(absl::StatusCode::kPermissionDenied));
  CHECK(machine.quoter.quote_count() == 1);
}

TEST_CASE("Attester: a malformed challenge ends the stream") {
  Machine machine;
  machine.Connect();
  ChallengeMessage challenge = machine.MakeChallenge(1, true);
  SECTION("short nonce") { challenge.nonce.pop_back(); }
  SECTION("long nonce") { challenge.nonce.push_back(0); }
  SECTION("no nonce") { challenge.nonce.clear(); }
  SECTION("no PCR") { challenge.selection = {}; }
  machine.Receive(challenge);
  CHECK_THAT(machine.ExpectClose().why,
             StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_CASE("Attester: a new challenge replaces the armed one") {
  Machine machine;
  machine.Prove();
  machine.Receive(machine.MakeChallenge(3));
  machine.Advance(absl::Seconds(10));
  CHECK(machine.ExpectQuote().nonce[0] == 3);
  machine.ExpectList();
  CHECK(machine.Nothing());
}

TEST_CASE("Attester: 'now' outlives the nonce that it came with") {
  Machine machine;
  machine.Connect();
  machine.Receive(machine.MakeChallenge(1, true));
  machine.Receive(machine.MakeChallenge(2, false));
  CHECK(machine.ExpectQuote().nonce[0] == 2);
}

// --- When it answers.

TEST_CASE("Attester: answers at once what asks for it") {
  Machine machine;
  machine.Prove();
  machine.Receive(machine.MakeChallenge(3, true));
  CHECK(machine.ExpectQuote().nonce[0] == 3);
}

TEST_CASE("Attester: several 'now' become one quote") {
  Machine machine;
  machine.Prove();
  for (uint8_t i = 3; i < 6; ++i) {
    machine.Receive(machine.MakeChallenge(i, true));
  }
  CHECK(machine.ExpectQuote().nonce[0] == 5);
  CHECK(machine.quoter.quote_count() == 2);
  machine.ExpectList();
  CHECK(machine.Nothing());
}

TEST_CASE("Attester: what a verifier has not seen yet is shown unasked") {
  Machine machine;
  machine.Connect();
  machine.Receive(machine.MakeChallenge(1));
  machine.Advance(absl::Milliseconds(100));
  CHECK(machine.ExpectQuote().nonce[0] == 1);
}

TEST_CASE("Attester: answers when the list has grown and settled") {
  Machine machine;
  machine.Prove();
  machine.list.Add(1);
  machine.Advance(absl::ZeroDuration());
  machine.Advance(absl::Milliseconds(99));
  CHECK(machine.Nothing());
  machine.Advance(absl::Milliseconds(1));
  machine.ExpectJob();
}

TEST_CASE("Attester: each new entry puts it off, but for 1 s at most [A29]") {
  Machine machine;
  machine.Prove();
  const absl::Time start = machine.now;
  std::optional<Action> action;
  while (!action) {
    machine.list.Add(1);
    machine.Advance(absl::Milliseconds(50));
    action = machine.attester.Next(machine.now);
    REQUIRE(machine.now < start + absl::Seconds(2));
  }
  CHECK(std::holds_alternative<QuoteJob>(*action));
  // The first entry was seen at the first look.
  CHECK(machine.now - start == absl::Milliseconds(1050));
}

TEST_CASE("Attester: an unchanged list is quoted before the time is over") {
  Machine machine;
  machine.Prove();  // a second ago
  machine.Advance(absl::Seconds(7));
  CHECK(machine.Nothing());
  CHECK(machine.attester.WakeAt() == machine.now + absl::Seconds(1));
  machine.Advance(absl::Seconds(1));
  machine.ExpectQuote();
}

TEST_CASE("Attester: a slow TPM is started in time") {
  Machine machine;
  machine.Connect();
  machine.Receive(machine.MakeChallenge(1, true));
  const QuoteJob slow = machine.ExpectJob();
  machine.Advance(absl::Seconds(2));
  machine.Finish(slow);
  machine.Expect<QuoteMessage>();
  machine.Receive(ListRequestMessage{});
  machine.ExpectList();
  machine.Judge();
  machine.Receive(machine.MakeChallenge(2));
  machine.Advance(absl::Milliseconds(5799));
  CHECK(machine.Nothing());
  machine.Advance(absl::Milliseconds(1));
  machine.ExpectJob();
}

TEST_CASE("Attester: a list that shrank is shown, too") {
  Machine machine;
  machine.Prove();
  machine.list.Clear();
  machine.Advance(absl::ZeroDuration());
  machine.Advance(absl::Milliseconds(100));
  machine.ExpectQuote();
  const ChunkMessage chunk = machine.Expect<ChunkMessage>();
  CHECK(chunk.data.empty());
  CHECK(chunk.last);
}

TEST_CASE("Attester: keeps the least interval between quotes of its own") {
  Machine machine;
  machine.Prove();
  ChallengeMessage challenge = machine.MakeChallenge(3, true);
  machine.Receive(challenge);
  machine.ExpectQuote();
  machine.ExpectList();
  machine.Judge();
  challenge = machine.MakeChallenge(4);
  challenge.least_interval = absl::Seconds(3);
  machine.Receive(challenge);
  machine.list.Add(1);
  machine.Advance(absl::ZeroDuration());
  machine.Advance(absl::Milliseconds(2999));
  CHECK(machine.Nothing());
  SECTION("and quotes when it is over") {
    machine.Advance(absl::Milliseconds(1));
    machine.ExpectJob();
  }
  SECTION("but not when it is asked") {
    challenge.now = true;
    machine.Receive(challenge);
    machine.ExpectJob();
  }
}

TEST_CASE("Attester: the time to answer beats the least interval") {
  Machine machine;
  machine.Connect();
  machine.Receive(machine.MakeChallenge(1, true));
  machine.ExpectQuote();
  machine.Receive(ListRequestMessage{});
  machine.ExpectList();
  machine.Judge();
  ChallengeMessage challenge = machine.MakeChallenge(2);
  challenge.least_interval = absl::Hours(1);
  machine.Receive(challenge);
  machine.Advance(absl::Seconds(9));
  machine.ExpectJob();
}

TEST_CASE("Attester: no verifier can have the chip quote without a pause") {
  Machine machine;
  machine.Connect();
  machine.Receive(machine.MakeChallenge(1, true));
  machine.ExpectQuote();
  machine.Receive(ListRequestMessage{});
  machine.ExpectList();
  machine.Judge();
  ChallengeMessage challenge = machine.MakeChallenge(2, true);
  challenge.answer_within = absl::Seconds(-1);
  machine.Receive(challenge);
  CHECK(machine.Nothing());
  machine.Advance(absl::Milliseconds(50));
  machine.ExpectJob();
}

TEST_CASE("Attester: entries left pending are quoted again") {
  Machine machine;
  machine.Prove();
  machine.Receive(machine.MakeChallenge(3, true));
  machine.ExpectQuote();
  machine.ExpectList();
  machine.Judge(/*pending_count=*/1);
  ChallengeMessage challenge = machine.MakeChallenge(4);
  SECTION("after a while") {
    machine.Receive(challenge);
    CHECK(machine.Nothing());
    machine.Advance(absl::Milliseconds(100));
    machine.ExpectQuote();
  }
  SECTION("after the least interval") {
    challenge.least_interval = absl::Milliseconds(700);
    machine.Receive(challenge);
    machine.Advance(absl::Milliseconds(699));
    CHECK(machine.Nothing());
    machine.Advance(absl::Milliseconds(1));
    machine.ExpectQuote();
  }
  // Once, unless the verdict says so again.
  machine.ExpectList();
  machine.Judge();
  machine.Receive(machine.MakeChallenge(5));
  machine.Advance(absl::Seconds(2));
  CHECK(machine.Nothing());
}

// --- The list.

TEST_CASE("Attester: no byte of the list before it was asked for") {
  Machine machine;
  machine.Connect();
  machine.Receive(machine.MakeChallenge(1, true));
  machine.ExpectQuote();
  machine.list.Add(5);
  machine.Advance(absl::Seconds(5));
  CHECK(machine.Nothing());
  CHECK(machine.list.read_count() == 0);
  machine.Receive(ListRequestMessage{});
  CHECK(machine.ExpectList() == machine.list.bytes());
}

TEST_CASE("Attester: a new stream has to ask for the list again") {
  Machine machine;
  machine.Prove();
  const size_t read_count = machine.list.read_count();
  machine.Connect();
  machine.Receive(machine.MakeChallenge(1, true));
  machine.ExpectQuote();
  machine.Advance(absl::Seconds(1));
  CHECK(machine.Nothing());
  CHECK(machine.list.read_count() == read_count);
}

TEST_CASE("Attester: a verdict alone does not ask for the list") {
  Machine machine;
  machine.Connect();
  machine.Receive(machine.MakeChallenge(1, true));
  machine.ExpectQuote();
  machine.Receive(VerdictMessage{});
  machine.Advance(absl::Seconds(1));
  machine.Receive(machine.MakeChallenge(2, true));
  machine.ExpectQuote();
  CHECK(machine.Nothing());
  CHECK(machine.list.read_count() == 0);
}

TEST_CASE("Attester: no list and no verdict before the first quote") {
  Machine machine;
  machine.Connect();
  SECTION("list") { machine.Receive(ListRequestMessage{}); }
  SECTION("verdict") { machine.Receive(VerdictMessage{}); }
  CHECK_THAT(machine.ExpectClose().why,
             StatusIs(absl::StatusCode::kFailedPrecondition,
                      "before a quote was sent"));
  CHECK(machine.list.read_count() == 0);
}

TEST_CASE("Attester: the list begins where the verifier says") {
  Machine machine;
  machine.Connect();
  machine.Receive(machine.MakeChallenge(1, true));
  machine.ExpectQuote();
  machine.Receive(ListRequestMessage{.first_entry = 2, .byte_offset = 20});
  CHECK(machine.ExpectList().size() == 10);
  machine.Receive(VerdictMessage{.next_byte_offset = 10});
  machine.Advance(absl::Seconds(1));
  machine.Receive(machine.MakeChallenge(2, true));
  // The quote comes first here, too, but the list is not waited for.
  machine.ExpectQuote();
  CHECK(machine.ExpectList().size() == 20);
}

TEST_CASE("Attester: an offset past the end gives an empty last piece") {
  Machine machine;
  machine.Connect();
  machine.Receive(machine.MakeChallenge(1, true));
  machine.ExpectQuote();
  machine.Receive(ListRequestMessage{.byte_offset = UINT64_MAX});
  CHECK(machine.ExpectList().empty());
}

TEST_CASE("Attester: pieces are small, and few are under way") {
  AttesterOptions options = Machine::DefaultOptions();
  options.chunk_size = size_t{64} << 20;
  Machine machine(options);
  machine.list.Add(4, kMaxChunkSize);
  machine.Connect();
  machine.Receive(machine.MakeChallenge(1, true));
  machine.ExpectQuote();
  machine.Receive(ListRequestMessage{});
  size_t size = 0;
  int count = 0;
  for (bool last = false; !last;) {
    std::vector<Action> under_way;
    while (auto action = machine.attester.Next(machine.now)) {
      under_way.push_back(*std::move(action));
    }
    CHECK(under_way.size() <= 2);
    REQUIRE(!under_way.empty());
    for (const Action& action : under_way) {
      const auto& chunk =
          std::get<ChunkMessage>(std::get<AgentMessage>(action));
      CHECK(chunk.data.size() <= kMaxChunkSize);
      size += chunk.data.size();
      last = chunk.last;
      ++count;
      machine.attester.OnWritten(machine.now);
    }
  }
  CHECK(size == machine.list.bytes().size());
  CHECK(count == 5);
  CHECK(machine.list.largest_read() == kMaxChunkSize);
}

TEST_CASE("Attester: a list that ends with a piece has an empty one after it") {
  AttesterOptions options = Machine::DefaultOptions();
  options.chunk_size = 15;
  Machine machine(options);
  machine.Connect();
  machine.Receive(machine.MakeChallenge(1, true));
  machine.ExpectQuote();
  machine.Receive(ListRequestMessage{});
  CHECK_FALSE(machine.Expect<ChunkMessage>().last);
  CHECK_FALSE(machine.Expect<ChunkMessage>().last);
  const ChunkMessage last = machine.Expect<ChunkMessage>();
  CHECK(last.last);
  CHECK(last.data.empty());
}

TEST_CASE("Attester: what came after the quote began is quoted next") {
  Machine machine;
  machine.Prove();
  machine.Receive(machine.MakeChallenge(3, true));
  const QuoteJob job = machine.ExpectJob();
  machine.list.Add(1);  // maybe too late for the quote
  machine.Finish(job);
  machine.Expect<QuoteMessage>();
  machine.ExpectList();
  machine.Judge();
  machine.Receive(machine.MakeChallenge(4));
  machine.Advance(absl::Milliseconds(100));
  machine.ExpectJob();
}

TEST_CASE("Attester: evidence that was begun is finished") {
  AttesterOptions options = Machine::DefaultOptions();
  options.chunk_size = 10;
  Machine machine(options);
  machine.Connect();
  machine.Receive(machine.MakeChallenge(1, true));
  machine.ExpectQuote();
  machine.Receive(ListRequestMessage{});
  machine.Expect<ChunkMessage>();
  machine.Receive(machine.MakeChallenge(2, true));
  CHECK(machine.ExpectList().size() == 20);
  CHECK(machine.Nothing());
  // The quote used up that challenge, too: the next one follows the verdict.
  machine.Judge();
  machine.Advance(absl::Seconds(1));
  CHECK(machine.Nothing());
  machine.Receive(machine.MakeChallenge(3, true));
  CHECK(machine.ExpectQuote().nonce[0] == 3);
}

TEST_CASE("Attester: a source that fails ends the stream") {
  Machine machine;
  machine.Prove();
  machine.list.SetError(absl::UnavailableError("securityfs is gone"));
  SECTION("when counting") {
    machine.Advance(absl::ZeroDuration());
    CHECK_THAT(machine.ExpectClose().why,
               StatusIs(absl::StatusCode::kUnavailable, "securityfs is gone"));
  }
  SECTION("when reading") {
    machine.list.SetError(absl::OkStatus());
    machine.Receive(machine.MakeChallenge(3, true));
    machine.ExpectQuote();
    machine.list.SetError(absl::DataLossError("half an entry"));
    CHECK_THAT(machine.ExpectClose().why,
               StatusIs(absl::StatusCode::kDataLoss, "half an entry"));
  }
}

// --- A TPM that stalls or fails.

TEST_CASE("Attester: a stalled TPM is asked once") {
  Machine machine;
  machine.Connect();
  machine.Receive(machine.MakeChallenge(1, true));
  const QuoteJob job = machine.ExpectJob();
  for (int i = 0; i < 20; ++i) {
    machine.list.Add(1);
    machine.Advance(absl::Seconds(5));
    CHECK(machine.Nothing());
  }
  machine.Finish(job);
  CHECK(machine.Expect<QuoteMessage>().nonce[0] == 1);
}

TEST_CASE("Attester: a quote whose nonce was just replaced still counts") {
  Machine machine;
  machine.Prove();
  machine.Receive(machine.MakeChallenge(3, true));
  const QuoteJob job = machine.ExpectJob();
  machine.Advance(absl::Seconds(5));
  machine.Receive(machine.MakeChallenge(4));
  machine.Advance(absl::Milliseconds(1500));
  machine.Finish(job);
  CHECK(machine.Expect<QuoteMessage>().nonce[0] == 3);
}

TEST_CASE("Attester: a quote that came too late is made again") {
  Machine machine;
  machine.Prove();
  machine.list.Add(1);
  machine.Advance(absl::ZeroDuration());
  machine.Advance(absl::Milliseconds(100));
  const QuoteJob job = machine.ExpectJob();
  machine.Receive(machine.MakeChallenge(3));
  uint8_t newest = 3;
  SECTION("the verifier takes the nonce no more") {
    machine.Advance(absl::Milliseconds(1501));
  }
  SECTION("it was replaced twice") {
    machine.Receive(machine.MakeChallenge(4));
    newest = 4;
  }
  machine.Advance(absl::Milliseconds(50));
  machine.Finish(job);
  // At once: what it was to show has waited long enough.
  CHECK(machine.ExpectQuote().nonce[0] == newest);
}

TEST_CASE("Attester: a quote that failed is tried again, ever more slowly") {
  Machine machine;
  machine.Prove();
  machine.quoter.SetError(absl::UnavailableError("TPM_RC_RETRY"));
  machine.Receive(machine.MakeChallenge(3, true));
  machine.Finish(machine.ExpectJob());
  for (const int ms : {200, 400, 800, 1600, 3200, 5000, 5000}) {
    machine.Advance(absl::Milliseconds(ms - 1));
    CHECK(machine.Nothing());
    machine.Advance(absl::Milliseconds(1));
    machine.Finish(machine.ExpectJob());
  }
  machine.quoter.SetError(absl::OkStatus());
  machine.Advance(absl::Seconds(5));
  CHECK(machine.ExpectQuote().nonce[0] == 3);
}

TEST_CASE("Attester: entries are not lost to a quote that failed") {
  Machine machine;
  machine.Prove();
  machine.quoter.SetError(absl::UnavailableError("TPM_RC_RETRY"));
  machine.list.Add(1, 10, 0xee);
  machine.Advance(absl::ZeroDuration());
  machine.Advance(absl::Milliseconds(100));
  machine.Finish(machine.ExpectJob());
  machine.quoter.SetError(absl::OkStatus());
  machine.Advance(absl::Milliseconds(200));
  machine.ExpectQuote();
  CHECK(machine.ExpectList() == std::vector<uint8_t>(10, 0xee));
}

TEST_CASE("Attester: a quote made for another stream is never sent") {
  Machine machine;
  machine.Connect();
  machine.Receive(machine.MakeChallenge(1, true));
  const QuoteJob old = machine.ExpectJob();
  machine.attester.OnDisconnected();
  machine.Connect();
  machine.Receive(machine.MakeChallenge(2, true));
  CHECK(machine.Nothing());  // the TPM is busy
  machine.Advance(absl::Milliseconds(50));
  machine.Finish(old);
  CHECK(machine.ExpectQuote().nonce[0] == 2);
}

TEST_CASE("Attester: an answer to no job is passed over") {
  Machine machine;
  machine.Connect();
  machine.Receive(machine.MakeChallenge(1, true));
  QuoteJob job = machine.ExpectJob();
  ++job.id;
  machine.Finish(job);
  CHECK(machine.Nothing());
}

TEST_CASE("Attester: a quote over 16 KiB is not sent") {
  Machine machine;
  machine.Connect();
  machine.Receive(machine.MakeChallenge(1, true));
  const QuoteJob job = machine.ExpectJob();
  machine.attester.OnQuoted(
      machine.now, job.id,
      QuoteResult{.attest = std::vector<uint8_t>(kMaxQuoteSize - 31)});
  CHECK_THAT(machine.ExpectClose().why,
             StatusIs(absl::StatusCode::kInternal, "limit 16384"));
}

// --- Ends.

TEST_CASE("Attester: a refusal ends the stream, and says until when") {
  Machine machine;
  machine.Connect();
  machine.Receive(RefusalMessage{.reason = "not added\x1b[2J",
                                 .retry_after = absl::Seconds(30)});
  const CloseStream close = machine.ExpectClose();
  CHECK_THAT(close.why, StatusIs(absl::StatusCode::kUnavailable, "not added"));
  CHECK(close.why.message().find('\x1b') == absl::string_view::npos);
  CHECK(close.retry_after == absl::Seconds(30));
  machine.Receive(machine.MakeChallenge(1, true));
  CHECK(machine.Nothing());
}

TEST_CASE("Attester: a verifier that owes an answer is given up") {
  Machine machine;
  machine.Connect();
  SECTION("a challenge") {}
  SECTION("a request for the list") {
    machine.Receive(machine.MakeChallenge(1, true));
    machine.ExpectQuote();
  }
  SECTION("a verdict") {
    machine.Receive(machine.MakeChallenge(1, true));
    machine.ExpectQuote();
    machine.Receive(ListRequestMessage{});
    machine.ExpectList();
  }
  SECTION("the next challenge") {
    machine.Receive(machine.MakeChallenge(1, true));
    machine.ExpectQuote();
    machine.Receive(ListRequestMessage{});
    machine.ExpectList();
    machine.Judge();
  }
  CHECK(machine.attester.WakeAt() == machine.now + absl::Minutes(2));
  machine.Advance(absl::Minutes(2) - absl::Milliseconds(1));
  CHECK(machine.Nothing());
  machine.Advance(absl::Milliseconds(1));
  CHECK_THAT(machine.ExpectClose().why,
             StatusIs(absl::StatusCode::kDeadlineExceeded, "2m"));
}

TEST_CASE("Attester: shows the newest verdict of the stream") {
  Machine machine;
  CHECK(machine.attester.verdict() == nullptr);
  machine.Prove();
  REQUIRE(machine.attester.verdict() != nullptr);
  CHECK(machine.attester.verdict()->state == "TRUSTED");
  machine.attester.OnDisconnected();
  CHECK(machine.attester.verdict() == nullptr);
}

}  // namespace
}  // namespace cupel::agent
