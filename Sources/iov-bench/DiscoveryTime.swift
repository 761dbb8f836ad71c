import ArgumentParser
import FakeDevices
import LinuxDevices

/// How long the Ethernet plugin looks for its cards on a host that is full of them.
struct DiscoveryTime: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "discovery",
    abstract: "Finds cards on a tree like sysfs, with messages of rtnetlink. Needs no rack and no cards.",
    discussion: """
      As the Ethernet plugin does it, time after time: once with nothing known, then with what it remembers of cards that it \
      has seen. What the kernel takes to answer is not in it.
      """)

  @Option(help: "How many cards.") var cards: UInt32 = 64
  @Option(help: "How many functions each has.") var functions: UInt32 = 256
  @Option(help: "How many times.") var rounds = 61

  func validate() throws {
    guard (1...84).contains(cards), (1...256).contains(functions), rounds > 0 else {
      throw ValidationError("--cards is 1 to 84, --functions 1 to 256, and --rounds at least 1")
    }
  }

  func run() async throws {
    let host = try CrowdedHost(cards: cards, functions: functions)
    let sysfs = Sysfs(root: host.kernel.root)
    var first: [Duration] = []
    var again: [Duration] = []
    // The first round pays for the page cache; it is not counted.
    for round in 0...rounds {
      let discovery = EthernetDiscovery(sysfs, host.links)
      let times = try (look(discovery), look(discovery))
      if round > 0 {
        first.append(times.0)
        again.append(times.1)
      }
    }
    print("\(cards) cards with \(functions) functions each")
    print("first look:  \(summary(first))")
    print("later looks: \(summary(again))")
  }

  private func look(_ discovery: EthernetDiscovery) throws -> Duration {
    let began = ContinuousClock.now
    let found = try discovery.look().cards
    let taken = ContinuousClock.now - began
    guard found.count == Int(cards), found.allSatisfy({ $0.virtualFunctions.count == Int(functions) }) else {
      throw ValidationError("\(found.count) of \(cards) cards were found, or not all of their functions")
    }
    return taken
  }
}
