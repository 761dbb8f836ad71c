import Configuration
import Services
import Testing

@testable import Coordinator

@Suite struct CoordinatorConfigurationTests {
  private func load(_ text: String) throws(ConfigurationError) -> CoordinatorConfiguration {
    let configuration = try Configuration.decode(CoordinatorConfiguration.self, from: text, named: "coordinator.yaml")
    try configuration.check("coordinator.yaml")
    return configuration
  }

  private func problem(_ text: String) -> String {
    do throws(ConfigurationError) {
      _ = try load(text)
      return ""
    } catch {
      return error.description
    }
  }

  private let store = "store: {path: /x/claims.sqlite}\n"

  @Test func theStoreIsAllThatMustBeSaid() throws {
    let configuration = try load(store)
    #expect(configuration.listen == [.unix(path: "/run/iov-coordinator/coordinator.sock")])
    #expect(configuration.leaseTermMilliseconds == 10_000)
    #expect(configuration.heartbeatIntervalMilliseconds == 3_000)
    #expect(configuration.logLevel == .info)
    #expect(problem("logLevel: info\n").contains("store.path is missing"))
    #expect(problem("stor: {path: /x}\n").contains("unknown key 'stor'; did you mean 'store'?"))
  }

  @Test func aUnixSocketNeedsNoCertificate() throws {
    #expect(try load(store + "listen: [\"unix:/run/iov/x.sock\"]\n").listen.count == 1)
  }

  @Test(arguments: ["127.0.0.1:0", "[::1]:7100", "localhost:7100", "0.0.0.0:7100", "10.0.0.1:7100", "rack:7100"])
  func aTCPListenerNeedsTLSOrTheWordThatItGoesWithout(_ endpoint: String) throws {
    let listener = store + "listen: [\"\(endpoint)\"]\n"
    let tls = "tls: {certificate: /x/certificate.pem, key: /x/key.pem, trustRoots: /x/ca.pem}\n"
    #expect(problem(listener).contains("\(endpoint) needs `tls`"))
    #expect(try load(listener + tls).tls?.key == "/x/key.pem")
    #expect(try load(listener + "plainText: true\n").tls == nil)
    #expect(problem(listener + tls + "plainText: true\n").contains("exclude each other"))
    #expect(problem(listener + "tls: {certificate: /x, key: /x}\n").contains("`trustRoots`"))
    #expect(problem(listener + "tls: {certificat: /x, key: /x}\n").contains("did you mean 'certificate'?"))
  }

  @Test func flappingHasItsDefaults() throws {
    let settings = try load(store).arbiterSettings
    #expect(settings.flapLimit == 5 && settings.flapWindowMilliseconds == 600_000)
    #expect(settings.holdMilliseconds == 60_000 && settings.longestHoldMilliseconds == 3_600_000)
    let other = try load(store + "flapping: {changes: 2, holdSeconds: 10}\n").arbiterSettings
    #expect(other.flapLimit == 2 && other.flapWindowMilliseconds == 600_000 && other.holdMilliseconds == 10_000)
    #expect(problem(store + "flapping: {changes: 0}\n").contains("flapping.changes is 0"))
    #expect(problem(store + "flapping: {holdSeconds: 4000}\n").contains("above flapping.longestHoldSeconds (3600)"))
    #expect(problem(store + "flapping: {change: 2}\n").contains("did you mean 'changes'?"))
  }

  @Test func valuesThatMakeNoSenseAreExplained() {
    #expect(problem(store + "listen: []\n").contains("nobody could reach"))
    #expect(problem(store + "listen: [nonsense]\n").contains("'nonsense'"))
    #expect(problem(store + "leaseTermMilliseconds: 50\n").contains("100 to 3600000"))
    #expect(problem(store + "heartbeatIntervalMilliseconds: 6000\n").contains("at most half"))
    #expect(problem(store + "logLevel: loud\n").contains("known: trace"))
    #expect(problem(store + "lisen: []\n").contains("did you mean 'listen'?"))
  }
}
