import Testing

@testable import iov_nbd_client

struct NegotiationTests {
  private static let greeting = Array("NBDMAGICIHAVEOPT".utf8) + [0, 3]
  private static let startTLS = Array("IHAVEOPT".utf8) + [0, 0, 0, 5, 0, 0, 0, 0]
  private static let go =
    Array("IHAVEOPT".utf8) + [0, 0, 0, 7, 0, 0, 0, 11, 0, 0, 0, 3] + Array("abc".utf8) + [0, 1, 0, 3]

  private static func answer(_ option: UInt8, _ type: [UInt8], length: UInt8 = 0) -> [UInt8] {
    [0, 3, 0xe8, 0x89, 4, 0x55, 0x65, 0xa9, 0, 0, 0, option] + type + [0, 0, 0, length]
  }

  /// - Returns: What was sent, and how it ended.
  private static func run(
    secured: Bool, _ received: [[UInt8]]
  ) throws -> (sent: [[UInt8]], outcome: Negotiation.Then) {
    var negotiation = Negotiation(exportName: "abc", isSecured: secured)
    var (step, left, sent) = (negotiation.first, received[...], [[UInt8]]())
    while true {
      if !step.send.isEmpty { sent.append(step.send) }
      switch step.then {
      case .receive(let count):
        let next = left.popFirst()
        let bytes = try #require(next)
        #expect(bytes.count == count)
        step = try negotiation.received(bytes)
      case .secure: step = negotiation.secured()
      case .use: return (sent, step.then)
      }
    }
  }

  private static let size: [[UInt8]] = [
    answer(7, [0, 0, 0, 3], length: 12), [0, 0] + [0, 0, 0, 0, 0, 0x40, 0, 0] + [0x01, 0x6d],
    answer(7, [0, 0, 0, 3], length: 14), [0, 3] + [0, 0, 2, 0] + [0, 0, 16, 0] + [2, 0, 0, 0],
  ]
  private static let acknowledged = answer(7, [0, 0, 0, 1])
  private static let export = Export(sizeBytes: 0x40_0000, flags: 0x016d, minimumBlockBytes: 512)

  @Test func anExportIsAskedForInPlain() throws {
    let (sent, outcome) = try Self.run(secured: false, [Self.greeting] + Self.size + [Self.acknowledged])
    #expect(sent == [[0, 0, 0, 3] + Self.go])
    #expect(outcome == .use(Self.export))
  }

  /// Nothing but the wish for TLS goes over a connection that is not secured yet.
  @Test func anExportIsAskedForBehindTLS() throws {
    let received = [Self.greeting, Self.answer(5, [0, 0, 0, 1])] + Self.size + [Self.acknowledged]
    let (sent, outcome) = try Self.run(secured: true, received)
    #expect(sent == [[0, 0, 0, 3] + Self.startTLS, Self.go])
    #expect(outcome == .use(Self.export))
  }

  @Test func whatIsNotUnderstoodIsNotAskedFor() throws {
    let greeting = Array(Self.greeting.dropLast()) + [1]
    let (sent, _) = try Self.run(secured: false, [greeting] + Self.size + [Self.acknowledged])
    #expect(sent.first?.prefix(4) == [0, 0, 0, 1])
  }

  @Test(
    arguments: [
      (false, [answer(7, [0x80, 0, 0, 5], length: 2), Array("no".utf8)], "server requires TLS: no"),
      (true, [answer(5, [0x80, 0, 0, 1])], "server does not support TLS"),
      (true, [answer(5, [0x80, 0, 0, 2], length: 4), Array("away".utf8)], "server does not support TLS: away"),
      (false, [answer(7, [0x80, 0, 0, 6])], "the server has no export 'abc'"),
      (false, [answer(7, [0x80, 0, 0, 9])], "the server refused the export 'abc' (80000009)"),
      (false, [acknowledged], "the server does not say how large its export is"),
      // Another option's, longer than any, and another protocol's.
      (false, [answer(5, [0, 0, 0, 1])], "the server's answer to option 7 is none"),
      (false, [answer(7, [0, 0, 0, 3]).dropLast(4) + [0, 1, 0, 0]], "the server's answer to option 7 is none"),
      (false, [[UInt8](repeating: 0, count: 20)], "the server's answer to option 7 is none"),
    ] as [(Bool, [[UInt8]], String)])
  func aRefusalSaysWhatItIs(_ isSecured: Bool, _ answers: [[UInt8]], _ words: String) {
    let error = #expect(throws: NegotiationError.self) { try Self.run(secured: isSecured, [Self.greeting] + answers) }
    #expect(error?.description == words)
  }

  @Test(arguments: ["NBDMAGIC\u{0}\u{0}B\u{2}\u{1}\u{6}\u{12}S\u{0}\u{0}", "HTTP/1.1 400 Bad R"])
  func anotherProtocolIsToldFromThis(_ greeting: String) {
    #expect(throws: NegotiationError.self) { try Self.run(secured: false, [Array(greeting.utf8)]) }
  }

  @Test func argumentsAreTakenAsThePluginsGiveThem() {
    let tcp = ["/run/x", "--backend", "b", "--export", "e", "--address", "::1", "--port", "9", "--tls", "--read-only"]
    let arguments = Arguments(tcp)
    #expect(arguments?.place == .host(address: "::1", port: 9))
    #expect(arguments?.isSecured == true && arguments?.isReadOnly == true && arguments?.directory == "/run/x")
    #expect(Arguments(["/run/x", "--backend", "b", "--export", "e", "--socket", "s"])?.place == .socket(path: "s"))
    for missing in [[], ["/run/x"], Array(tcp.dropLast(4)), tcp + ["--speed"], tcp + ["--backend"]] {
      #expect(Arguments(missing) == nil)
    }
  }
}
