import Configuration
import Services
import Testing

@testable import iov

@Suite struct YAMLTests {
  private func yaml(_ value: some Encodable) throws -> String { try YAMLEmitter.document(JSONTree(value)) }

  private struct Words: Codable, Equatable {
    var words: [String]
  }

  @Test func aMessageIsReadBackAsItWas() throws {
    let claim = Claim {
      $0.name = "web"
      $0.revision = 18_446_744_073_709_551_615
      $0.created = Timestamp(seconds: 1_700_000_000, nanoseconds: 5)
      $0.specification = ClaimSpecification {
        $0.deviceClass = "ethernet"
        $0.allowedPaths = [.direct, .mediated]
        $0.endNode = EndNodeSelector { $0.labels = ["rack": "12", "on": "yes", "": "~"] }
        $0.consumer = Consumer { $0.kind = .host(HostConsumer()) }
        $0.attributes = Attributes {
          $0.ethernet = EthernetAttributes {
            $0.macAddress = "02:00:00:00:00:01"
            $0.mtu = 1500
          }
          $0.block = BlockAttributes { $0.readOnly = false }
        }
      }
      $0.status = ClaimStatus {
        $0.pending = [
          PendingReason { $0.message = "waits: for 'a' # and \"b\"\n  - more\t\u{1}é 🖧\u{2028}x\u{85}" },
          PendingReason { $0.dropped = 3 },
        ]
      }
    }
    #expect(try Configuration.decode(Claim.self, from: yaml(claim), named: "x") == claim)
    #expect(try Configuration.decode(Claim.self, from: yaml(Claim()), named: "x") == Claim())
  }

  @Test func whatLooksLikeSomethingElseStaysText() throws {
    let words = Words(words: [
      "", " ", "~", "null", "Null", "yes", "No", "ON", "y", "true", "False", "1", "-1", "+1", "0x1f", "1e3", ".5",
      ".inf", "1:30",
      "2026-01-01", "=", "<<", "- a", "a: b", "a #b", "#", "&a", "*a", "!a", "|", ">", "%a", "@a", "`a", "[a]", "{a}",
      "'", "\"", "a'b", "?", "? a", ":", "a:", ",", "---", "--- a", "...", "\n", "a\n", "\na", "a\n\nb", "\t", "a ",
      " a",
      "/dev/sda", "host-a", "\u{feff}a", "\u{7f}", "NaN", String(repeating: "word ", count: 60), "été",
    ])
    let text = try yaml(words)
    #expect(try Configuration.decode(Words.self, from: text, named: "x") == words)
    for word in ["'yes'", "'1'", "'1e3'", "'2026-01-01'", "'~'", "- /dev/sda\n", "- host-a\n"] {
      #expect(text.contains(word))
    }
  }

  @Test(arguments: 0..<64) func anyTextIsReadBack(seed: UInt64) throws {
    var generator = SplitMix(state: seed)
    let alphabet = Array("ab 01-:#'\"\\\n\t\r,[]{}&*!|>%@`~?=.é\u{2029}🖧\u{1b}\u{a0}".unicodeScalars)
    let words = (0..<40).map { _ in
      let count = Int.random(in: 0...12, using: &generator)
      return String(String.UnicodeScalarView((0..<count).compactMap { _ in alphabet.randomElement(using: &generator) }))
    }
    let text = try yaml(Words(words: words))
    #expect(try Configuration.decode(Words.self, from: text, named: "x") == Words(words: words), "seed \(seed)")
  }

  private struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
      state &+= 0x9e37_79b9_7f4a_7c15
      var mixed = (state ^ (state >> 30)) &* 0xbf58_476d_1ce4_e5b9
      mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
      return mixed ^ (mixed >> 31)
    }
  }

  @Test func keysStandInOrderAndBlocks() throws {
    let host = Host {
      $0.name = "host-a"
      $0.labels = ["z": "1", "a": "b"]
      $0.plugins = [Plugin { $0.name = "ethernet" }]
    }
    #expect(
      try yaml(host) == "labels:\n  a: b\n  z: '1'\nname: host-a\nplugins:\n- name: ethernet\n")
  }
}
