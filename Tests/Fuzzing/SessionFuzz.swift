import HTTP2Session

/// A session that gets made-up bytes, and does with its events what a server or a client does.
struct SessionFuzz {
  private let session: HTTP2Session
  private let role: HTTP2Session.Role
  private var closed: Set<StreamID> = []
  private var outputByteCount = 0
  /// Of bytes that are not copied.
  private let keeper = Keeper()

  private final class Keeper: Sendable {}

  private init?(_ role: HTTP2Session.Role) {
    self.role = role
    // Small, so that what is above them is found.
    var settings = SessionSettings()
    settings.maximumConcurrentStreams = 8
    settings.maximumHeaderListByteCount = 1024
    settings.streamWindowByteCount = 70_000
    guard let session = try? HTTP2Session(role, settings: settings) else { return nil }
    self.session = session
  }

  static func asServer(_ bytes: UnsafeRawBufferPointer) {
    guard var fuzz = SessionFuzz(.server) else { return }
    fuzz.receive(bytes)
  }

  static func asClient(_ bytes: UnsafeRawBufferPointer) {
    guard var fuzz = SessionFuzz(.client) else { return }
    let request = HeaderList([
      (":method", "POST"), (":scheme", "http"), (":path", "/a.B/C"), (":authority", "x"), ("te", "trailers"),
      ("content-type", "application/grpc"),
    ])
    // The streams that answers can be for: 1 is whole, 3 is still sending, 5 was given up.
    for number in 0..<3 {
      guard let stream = try? fuzz.session.submitRequest(request) else { return }
      fuzz.session.send(on: stream, byteCount: 100) { $0.initializeMemory(as: UInt8.self, repeating: 0) }
      if number == 0 { fuzz.session.finish(stream) }
      if number == 2 { fuzz.session.reset(stream, ErrorCode.cancel) }
    }
    fuzz.receive(bytes)
  }

  /// The first byte says in pieces of what size the rest comes.
  private mutating func receive(_ bytes: UnsafeRawBufferPointer) {
    guard send() else { return }
    var input = FuzzInput(bytes)
    let pieceByteCount = Int(input.byte())
    input.forEachPiece(of: pieceByteCount) { piece in
      do throws(HTTP2Error) {
        for event in try session.receive(piece) { handle(event, piece) }
      } catch {
        // The connection ends; what says why may still leave.
        _ = send()
        return false
      }
      return send() && session.isAlive
    }
    session.releaseSpareMemory()
    // Each byte that comes can bring about an answer, but a small one: a peer must not get much for little.
    precondition(
      outputByteCount <= 4096 + 64 * bytes.count, "\(bytes.count) bytes made the session send \(outputByteCount)")
  }

  private mutating func handle(_ event: SessionEvent, _ piece: UnsafeRawBufferPointer) {
    switch event {
    case .headers(let stream, let fields, let endsStream):
      precondition(!closed.contains(stream), "headers on stream \(stream), which is over")
      precondition(fields.fields.count == fields.count)
      if role == .server, endsStream { answer(stream) }
    case .headersTooLong(let stream):
      session.reset(stream, ErrorCode.enhanceYourCalm)
    case .data(let stream, let range):
      precondition(!closed.contains(stream), "data on stream \(stream), which is over")
      precondition(range.lowerBound >= 0 && range.upperBound <= piece.count, "bytes outside of what came")
      session.creditConnection(range.count)
      session.creditStream(stream, range.count)
    case .bodyEnded(let stream):
      precondition(!closed.contains(stream), "the end of stream \(stream), which is over")
      if role == .server { answer(stream) }
    case .closed(let stream, _):
      precondition(closed.insert(stream).inserted, "stream \(stream) is over twice")
    case .endSent, .goAway, .settingsReceived, .pinged, .pingAnswered: break
    }
  }

  private func answer(_ stream: StreamID) {
    try? session.submitResponse(stream, HeaderList([(":status", "200"), ("content-type", "application/grpc")]))
    session.send(on: stream, byteCount: 5) { $0.initializeMemory(as: UInt8.self, repeating: 0) }
    session.send(on: stream, owner: keeper, byteCount: 20)
    session.finish(stream, trailers: HeaderList([("grpc-status", "0")]))
  }

  /// False if the session cannot go on.
  private mutating func send() -> Bool {
    var count = 0
    do throws(HTTP2Error) {
      try session.outgoingBytes(limit: 64 << 10) { copied, pieces in
        count = copied.count
        for case .shared(_, let range) in pieces { count += range.count }
      }
    } catch {
      return false
    }
    outputByteCount += count
    let nothing = UnsafeRawBufferPointer(start: nil, count: 0)
    for event in session.takeEvents() { handle(event, nothing) }
    return true
  }
}
