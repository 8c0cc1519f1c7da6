"""``livehead bench server``: a real server and real peers on this machine, measured."""
