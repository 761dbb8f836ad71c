import Configuration
import Testing

private struct Sample: Decodable, Equatable {
  struct Plugin: Decodable, Equatable {
    var executable: String
    var labels: [String: String]?
  }
  enum Level: String, Decodable { case info, debug }

  var host: String
  var port: UInt16?
  var plugins: [Plugin]?
  var strict: Bool?
  var level: Level?
}

private func decode(_ text: String) throws -> Sample {
  try Configuration.decode(Sample.self, from: text, named: "sample.yaml")
}

private func error(_ text: String) -> String {
  do {
    return "decoded: \(try decode(text))"
  } catch {
    return "\(error)"
  }
}

@Test func aWholeConfigurationIsRead() throws {
  let sample = try decode(
    """
    host: host-a   # comments are skipped
    port: 7100
    strict: true
    level: debug
    plugins:
      - executable: /usr/lib/iov/ethernet
        labels: {rack: r1, "row": '2'}
      - executable: "123"
    """)
  #expect(
    sample
      == Sample(
        host: "host-a", port: 7100,
        plugins: [
          .init(executable: "/usr/lib/iov/ethernet", labels: ["rack": "r1", "row": "2"]),
          .init(executable: "123", labels: nil),
        ], strict: true, level: .debug))
}

@Test(arguments: [
  ("host: a\nplugin: []", "sample.yaml:2: unknown key 'plugin'; did you mean 'plugins'?"),
  ("host: a\nzzz: 1", "sample.yaml:2: unknown key 'zzz'; known keys: host, level, plugins, port, strict"),
  (
    "host: a\nplugins:\n - executable: x\n   executables: y",
    "sample.yaml:4: unknown key 'executables'; did you mean 'executable'?"
  ),
  ("port: 1", "sample.yaml:1: the key 'host' is missing in the file"),
  ("host: a\nport: 70000", "sample.yaml:2: 'port' must be a whole number from 0 to 65535, found '70000'"),
  ("host: a\nport: \"7\"", "sample.yaml:2: 'port' must be a whole number from 0 to 65535, found '7'"),
  ("host: a\nstrict: yes", "sample.yaml:2: 'strict' must be true or false, found 'yes'"),
  ("host: a\nplugins: x", "sample.yaml:2: 'plugins' must be a list, found 'x'"),
  ("host: a\nplugins: [x]", "sample.yaml:2: 'plugins.[0]' must be a group of keys, found 'x'"),
  ("host: [a]", "sample.yaml:1: 'host' must be text, found a list"),
  ("host: a\nhost: b", "sample.yaml:2: the key 'host' stands twice, first on line 1"),
  ("host: &x a\nlevel: *x", "sample.yaml:2: aliases (*name) are not supported; write the value out"),
  ("host: a\n---\nhost: b", "sample.yaml:2: a second document begins here; one file holds one configuration"),
  ("host: a\n  port: 1", "sample.yaml:2: mapping values are not allowed in this context"),
  ("host: 'a", "sample.yaml:1: found unexpected end of stream"),
  ("- a", "sample.yaml:1: the file must be a group of keys, found a list"),
  ("", "sample.yaml:1: the key 'host' is missing in the file"),
])
func aMistakeIsNamedWithItsPlace(text: String, expected: String) {
  #expect(error(text) == expected)
}

@Test func anUnknownChoiceNamesTheValue() {
  #expect(error("host: a\nlevel: loud").hasPrefix("sample.yaml:2: 'level' has the value 'loud'"))
}

@Test func deepNestingIsRefusedWithoutOverflowingTheStack() {
  let text = "host: " + String(repeating: "[", count: 5000)
  #expect(error(text) == "sample.yaml:1: nested more than 64 deep")
}

@Test func aFileThatIsNotThereIsNamed() {
  #expect(
    throws: ConfigurationError("cannot open the configuration file /nonexistent/x.yaml: No such file or directory")
  ) {
    try Configuration.load(Sample.self, from: "/nonexistent/x.yaml")
  }
}
