import HTTP2Session
import Testing

/// Frames that cost something and bring nothing.
@Suite struct OverheadTests {
  // MARK: The budget

  private static func answers(
    _ budget: OverheadBudget, _ spendings: [(count: Int, at: Duration)]
  ) -> [Bool] {
    var budget = budget
    return spendings.map { budget.spend($0.count, at: $0.at) }
  }

  @Test func aBurstIsAllowedAndWhatIsBeyondIsNot() {
    let budget = OverheadBudget(burst: 100, perSecond: 10)
    let answers = Self.answers(budget, [(60, .seconds(1)), (40, .seconds(1)), (1, .seconds(1))])
    #expect(answers == [true, true, false])
  }

  @Test func timeGivesTheBudgetBackUpToTheBurst() {
    let budget = OverheadBudget(burst: 100, perSecond: 10)
    let answers = Self.answers(
      budget, [(100, .seconds(1)), (10, .seconds(2)), (100, .seconds(1000)), (1, .seconds(1000))])
    #expect(answers == [true, true, true, false])
  }

  @Test func lookingOftenLosesNoTime() {
    let answers = Self.answers(
      OverheadBudget(burst: 1, perSecond: 10),
      [(1, .zero)] + (1..<100).map { (0, .milliseconds($0)) } + [(1, .milliseconds(100)), (1, .milliseconds(100))])
    #expect(answers.suffix(2) == [true, false])
  }

  @Test func aClockThatGoesBackOrLeapsIsNoTrap() {
    let budget = OverheadBudget(burst: 5, perSecond: 1000)
    let answers = Self.answers(budget, [(5, .seconds(10)), (6, .seconds(1)), (.max, .seconds(1 << 40))])
    #expect(answers == [true, false, false])
  }

  // MARK: What is counted

  /// A server's session that a client has greeted, with one stream open.
  private func greetedServer() throws -> HTTP2Session {
    let client = try HTTP2Session(.client)
    let server = try HTTP2Session(.server)
    _ = try client.submitRequest(request)
    var bytes: [UInt8] = []
    try client.outgoingBytes { copied, _ in bytes += copied }
    _ = try server.receive(bytes)
    try server.outgoingBytes { _, _ in }
    _ = server.takeOverheadFrameCount()
    return server
  }

  private static let floods: [(name: String, frame: [UInt8])] = [
    ("PING", frame(6, payload: [UInt8](repeating: 0, count: 8))),
    ("an answer to no PING", frame(6, flags: 1, payload: [UInt8](repeating: 0, count: 8))),
    ("SETTINGS", frame(4)),
    ("empty DATA", frame(0, stream: 1)),
    ("padded empty DATA", frame(0, flags: 8, stream: 1, payload: [3, 0, 0, 0])),
    ("trailers that end nothing", frame(1, flags: 4, stream: 1)),
    ("PRIORITY", frame(2, stream: 1, payload: [0, 0, 0, 0, 9])),
    ("WINDOW_UPDATE", frame(8, stream: 1, payload: [0, 0, 0, 1])),
    ("WINDOW_UPDATE of the connection", frame(8, payload: [0, 0, 0, 1])),
  ]

  @Test(arguments: 0..<floods.count)
  func eachFrameThatBringsNothingCounts(index: Int) throws {
    let (name, frame) = Self.floods[index]
    let server = try greetedServer()
    _ = try server.receive((0..<50).flatMap { _ in frame })
    #expect(server.takeOverheadFrameCount() == 50, "\(name)")
    #expect(server.takeOverheadFrameCount() == 0)
  }

  @Test func aCallThatIsGivenUpCountsOnce() throws {
    let pair = try Pair()
    let stream = try pair.client.submitRequest(request)
    try pair.exchange()
    _ = pair.server.takeOverheadFrameCount()
    pair.client.reset(stream, ErrorCode.cancel)
    try pair.exchange()
    #expect(pair.server.takeOverheadFrameCount() == 1)
  }

  /// A reset that the peer provokes is as good a flood as one that it sends (CVE-2025-8671).
  @Test func aResetThatThePeerProvokesCounts() throws {
    let server = try greetedServer()
    // A window that overflows (RFC 9113 §6.9.1).
    _ = try server.receive(frame(8, stream: 1, payload: [0x7f, 0xff, 0xff, 0xff]))
    try server.outgoingBytes { _, _ in }
    #expect(server.takeOverheadFrameCount() == 2)
  }

  @Test func callsAndTheirAnswersCountNothing() throws {
    let pair = try Pair()
    try pair.exchange()
    _ = pair.server.takeOverheadFrameCount()
    for _ in 0..<20 {
      let stream = try pair.client.submitRequest(request)
      pair.client.send(on: stream, [UInt8](repeating: 1, count: 50_000))
      pair.client.finish(stream)
      try pair.exchange()
      try pair.server.submitResponse(stream, response)
      pair.server.send(on: stream, [UInt8](repeating: 2, count: 200_000))
      pair.server.finish(stream)
      try pair.exchange()
      pair.client.creditConnection(200_000)
      pair.client.creditStream(stream, 200_000)
      pair.server.creditConnection(50_000)
      try pair.exchange()
      #expect(pair.clientSaw.bodies[stream]?.count == 200_000)
    }
    #expect(pair.server.takeOverheadFrameCount() == 0)
  }

  // MARK: Header lists

  /// The compression lets one byte stand for a whole entry of its table, here of 4,000 bytes (RFC 7541 §6.1).
  @Test func aHeaderBombIsDroppedAndCostsMuchOfTheBudget() throws {
    let server = try HTTP2Session(.server)
    var bytes = preface + frame(4)
    // A literal field with incremental indexing, name "x", value 4,000 bytes: index 62 from then on.
    let length: [UInt8] = [0x7f, 0xa1, 0x1e]
    let entry: [UInt8] = [0x40, 1, UInt8(ascii: "x")] + length + [UInt8](repeating: UInt8(ascii: "v"), count: 4000)
    let pseudo: [UInt8] = [0x83, 0x86, 0x84, 0x01, 1, UInt8(ascii: "a")]
    bytes += frame(1, flags: 4 | 1, stream: 1, payload: pseudo + entry)
    bytes += frame(1, flags: 4 | 1, stream: 3, payload: pseudo + [UInt8](repeating: 0xbe, count: 16_000))
    bytes += frame(1, flags: 4 | 1, stream: 5, payload: pseudo)
    let events = try server.receive(bytes)
    let whole = events.compactMap { event -> StreamID? in
      guard case .headers(let stream, _, _) = event else { return nil }
      return stream
    }
    #expect(whole == [1, 5], "the bomb is no call, and those around it are")
    #expect(server.takeOverheadFrameCount() >= 100)
    #expect(server.headerListInProgress == nil)
  }

  @Test func aHeaderListThatHasBegunIsSeenUntilItIsWhole() throws {
    let server = try HTTP2Session(.server)
    let block = frame(1, flags: 4 | 1, stream: 1, payload: [0x83, 0x86, 0x84, 0x41, 1, UInt8(ascii: "a")])
    _ = try server.receive(preface + frame(4))
    #expect(server.headerListInProgress == nil)
    _ = try server.receive(Array(block[..<12]))
    #expect(server.headerListInProgress == 1)
    _ = try server.receive(Array(block[12...]))
    #expect(server.headerListInProgress == nil)
  }

  // MARK: Saying goodbye

  @Test func streamsThatAreOnTheirWayWhenTheEndIsAnnouncedAreTaken() throws {
    let pair = try Pair()
    try pair.exchange()
    pair.server.announceGoAway()
    pair.server.ping(payload: 7)
    var announcement: [UInt8] = []
    try pair.server.outgoingBytes { copied, _ in announcement += copied }
    // The client does not know yet.
    let stream = try pair.client.submitRequest(request)
    try pair.exchange()
    #expect(pair.serverSaw.headers(of: stream).count == 1)
    pair.clientSaw.add(try pair.client.receive(announcement), announcement)
    #expect(pair.clientSaw.contains(.goAway(lastStream: .max, errorCode: ErrorCode.none)))
    try pair.exchange()
    #expect(pair.serverSaw.contains(.pingAnswered(payload: 7)))
    pair.server.goAway(ErrorCode.none)
    try pair.exchange()
    #expect(pair.clientSaw.contains(.goAway(lastStream: stream, errorCode: ErrorCode.none)))
    try pair.server.submitWholeResponse(stream, response)
    pair.client.finish(stream)
    try pair.exchange()
    #expect(pair.clientSaw.headers(of: stream) == [[":status: 200"]])
    #expect(!pair.server.isAlive)
  }

  @Test func bytesThatHaveNotLeftAreCountedUntilTheyHaveOrTheirStreamIsOver() throws {
    let pair = try Pair()
    try pair.exchange()
    let streams = try (0..<2).map { _ in try pair.client.submitRequest(request) }
    for stream in streams { pair.client.send(on: stream, [UInt8](repeating: 1, count: 300_000)) }
    #expect(pair.client.totalUnsentByteCount == 600_000)
    try pair.exchange()
    #expect(pair.client.totalUnsentByteCount == 600_000 - 2 * (256 << 10))
    pair.client.reset(streams[0], ErrorCode.cancel)
    try pair.exchange()
    #expect(pair.client.totalUnsentByteCount == 300_000 - (256 << 10))
    pair.server.reset(streams[1], ErrorCode.cancel)
    try pair.exchange()
    #expect(pair.client.totalUnsentByteCount == 0)
  }
}

private let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

/// One frame (RFC 9113 §4.1).
private func frame(_ type: UInt8, flags: UInt8 = 0, stream: UInt8 = 0, payload: [UInt8] = []) -> [UInt8] {
  [UInt8(payload.count >> 16), UInt8(payload.count >> 8 & 0xff), UInt8(payload.count & 0xff), type, flags]
    + [0, 0, 0, stream] + payload
}
