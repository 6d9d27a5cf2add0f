from ros_graph import HAS_ROS

if not HAS_ROS:
    collect_ignore = ["test_player.py"]
