use shop;
insert into words values (1, 'né', 'Łó', 'Жё', 'Жё', 'αΩ', 'אב', 'กข', 'Åä', '表', 'a😀', '😀b', '表', 'ソ', 'é');
insert into labels values (1, 'où', 'ёж,жук', '😀', '表', 'a,b', 'b\\c'), (2, 'né', 'жук', '表', 'a', 'b', 'd\ne'), (3, 'né', '', '表', 'a', '', 'it''s');
