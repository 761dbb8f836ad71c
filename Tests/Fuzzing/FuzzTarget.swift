/// What is handed bytes that nobody vouches for. libFuzzer makes them up (`cluster/fuzz`); those that once mattered are saved
/// in `Corpora`, a directory for each target, and replayed by ordinary tests too.
///
/// A target fails by a trap: of Swift's, of a sanitizer, or of a `precondition` on what must hold whatever comes.
public enum FuzzTarget: String, CaseIterable, Sendable {
  /// HTTP/2 as a server gets it.
  case requestFrames = "request-frames"
  /// HTTP/2 as a client gets it.
  case answerFrames = "answer-frames"
  /// A body, cut into gRPC's messages.
  case framing
  /// Compressed messages.
  case compression
  /// Header lists: metadata, timeouts, status, and the encodings in them.
  case headers
  /// The product's own messages.
  case messages
  /// Conditions of claims.
  case selectors

  public func run(_ input: UnsafeRawBufferPointer) {
    switch self {
    case .requestFrames: SessionFuzz.asServer(input)
    case .answerFrames: SessionFuzz.asClient(input)
    case .framing: framingFuzz(input)
    case .compression: compressionFuzz(input)
    case .headers: headersFuzz(input)
    case .messages: messagesFuzz(input)
    case .selectors: selectorsFuzz(input)
    }
  }
}

/// A fuzzed input's first bytes choose how it is used; what follows is the data.
struct FuzzInput {
  private(set) var rest: UnsafeRawBufferPointer

  init(_ bytes: UnsafeRawBufferPointer) { rest = bytes }

  var isEmpty: Bool { rest.isEmpty }

  /// 0 when there is no more.
  mutating func byte() -> UInt8 { take(1).first ?? 0 }

  /// The next bytes, or fewer if there are no more.
  mutating func take(_ count: Int) -> UnsafeRawBufferPointer {
    let taken = UnsafeRawBufferPointer(rebasing: rest[..<min(count, rest.count)])
    rest = UnsafeRawBufferPointer(rebasing: rest[taken.count...])
    return taken
  }

  /// All that is left, in pieces of `count` bytes, or in one if that is 0.
  mutating func forEachPiece(of count: Int, _ body: (UnsafeRawBufferPointer) -> Bool) {
    while !isEmpty, body(take(count == 0 ? .max : count)) {}
  }
}
