// HTTP2Session
